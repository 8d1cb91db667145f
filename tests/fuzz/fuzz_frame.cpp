// The receiver's way of a byte stream: cut into lines, checked, applied, answered. The input's first
// byte says how the stream is split; however it is split, and whether usual frames are read in haste
// or not, the answers and the token must be the same.
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

bool same(const tokenrelay::Token& a, const tokenrelay::Token& b) {
    return a.access_token() == b.access_token() && a.refresh_token() == b.refresh_token() &&
           a.scope() == b.scope() && a.account() == b.account() &&
           a.expires_at() == b.expires_at() && a.serial() == b.serial() &&
           a.issued_at() == b.issued_at() && a.grant_expires_at() == b.grant_expires_at();
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
    static check::WireReceiver whole(true, check::Haste::none);
    static check::WireReceiver hasty(true, check::Haste::usual);
    static check::WireReceiver split(true, check::Haste::usual);
    for (auto* receiver : {&whole, &hasty, &split}) receiver->forget();
    const std::string answers = feed(whole, stream, 0);
    require(answers == feed(hasty, stream, 0));
    require(answers == feed(split, stream, data[0]));
    check_answers(answers);
    const auto token = whole.token();
    if (token) check_token(*token);
    for (const auto* receiver : {&hasty, &split}) {
        const auto other = receiver->token();
        require(static_cast<bool>(token) == static_cast<bool>(other));
        require(!token || same(*token, *other));
    }
    return 0;
}
