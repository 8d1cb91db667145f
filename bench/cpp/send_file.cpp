// Replaces a token file atomically: write a temporary, rename. How Vault Agent and Kubernetes
// deliver.
//   send_file --ledger FILE --file PATH --ack FD [--cpu N]
#include <fcntl.h>

#include "pacing.hpp"

namespace {

void replace(const std::string& path, const std::string& temporary, std::string_view content) {
    const int descriptor =
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0) bench::fail(temporary);
    if (::write(descriptor, content.data(), content.size()) != static_cast<ssize_t>(content.size()))
        bench::fail("write");
    ::close(descriptor);
    if (::rename(temporary.c_str(), path.c_str()) < 0) bench::fail("rename");
}

}  // namespace

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::pin_to(arguments.number("--cpu", -1));
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    const std::string path = arguments.text("--file");
    const std::string temporary = path + ".new";
    const int acknowledgements = arguments.number("--ack", -1);
    bench::serve_blocks(
        ledger, [&](const bench::Frame& frame) { replace(path, temporary, frame.line()); },
        [&] { bench::await_acknowledgement(acknowledgements); });
}
