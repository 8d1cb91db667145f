// Runs the fuzz target over given inputs, with any compiler: files and folders of inputs, and *.json
// files of golden frames, each case of which is a stream. `--write FOLDER` writes these as seeds.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/cpp/vectors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;
namespace json = simdjson::dom;

std::size_t inputs = 0;
fs::path seeds;

void run(const std::string& input) {
    ++inputs;
    if (!seeds.empty()) std::ofstream(seeds / std::to_string(inputs), std::ios::binary) << input;
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

void run_vectors(const fs::path& path) {
    json::parser parser;
    const json::array cases = parser.load(path.string()).get_array().value();
    for (json::object item : cases) {
        std::string stream;
        for (json::object step : check::array_of(item, "steps")) stream += check::bytes_of(step);
        for (const char split : {'\0', '\1', '\x20'}) run(split + stream);
    }
}

void run_path(const fs::path& path) {
    if (fs::is_directory(path)) {
        for (const auto& entry : fs::directory_iterator(path)) run_path(entry.path());
    } else if (path.extension() == ".json") {
        run_vectors(path);
    } else {
        std::ifstream file(path, std::ios::binary);
        run({std::istreambuf_iterator<char>(file), {}});
    }
}

}  // namespace

int main(int count, char** arguments) {
    for (int i = 1; i < count; ++i) {
        if (std::string(arguments[i]) == "--write" && i + 1 < count) {
            fs::create_directories(seeds = arguments[++i]);
        } else {
            run_path(arguments[i]);
        }
    }
    std::printf("%zu inputs\n", inputs);
    return inputs == 0;
}
