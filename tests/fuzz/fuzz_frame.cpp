// The receiver's way of a byte stream: cut into lines, checked, applied, answered. The input's first
// byte says how the stream is split; however it is split, the answers must be the same.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tests/cpp/wire_receiver.hpp"
#include "tokenrelay/limits.hpp"

namespace {

constexpr std::int64_t kNow = 1'700'000'000;

void require(bool condition) {
    if (!condition) std::abort();
}

bool is_answer(std::string_view line) {
    for (const char byte : line) require(byte >= 0x20 && byte <= 0x7E && byte != '\\');
    return line.starts_with("{\"ok\":true,\"generation\":") ||
           line.starts_with("{\"ok\":false,\"error\":\"");
}

void check_answers(std::string_view answers) {
    while (!answers.empty()) {
        const auto end = answers.find('\n');
        require(end != answers.npos && is_answer(answers.substr(0, end)) &&
                answers[end - 1] == '}');
        answers.remove_prefix(end + 1);
    }
}

void check_token(const tokenrelay::Token& token) {
    const std::string_view text = token.access_token();
    require(!text.empty() && text.size() <= tokenrelay::kMaxToken);
    for (const char byte : text) require(byte >= 0x21 && byte <= 0x7E);
    require(token.expires_at() > kNow && token.expires_at() <= tokenrelay::kMaxUnixTime);
    require(!token.serial() || (*token.serial() >= 0 && *token.serial() <= tokenrelay::kMaxSerial));
}

// Chunks of changing size, decided by `seed`; 0: all at once.
std::string feed(check::WireReceiver& receiver, std::string_view stream, unsigned seed) {
    std::string answers;
    for (unsigned step = seed; !stream.empty(); step = step * 1103515245 + 12345) {
        const std::size_t size = seed == 0 ? stream.size() : 1 + (step >> 16) % (seed * 8);
        answers += receiver.feed(stream.substr(0, size), kNow);
        stream.remove_prefix(std::min(size, stream.size()));
    }
    return answers + receiver.finish(kNow);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
    static check::WireReceiver whole(false);
    static check::WireReceiver split(true);
    whole.forget();
    split.forget();
    const std::string answers = feed(whole, stream, 0);
    require(answers == feed(split, stream, data[0]));
    check_answers(answers);
    if (const auto token = whole.token()) check_token(*token);
    require(static_cast<bool>(whole.token()) == static_cast<bool>(split.token()));
    return 0;
}
