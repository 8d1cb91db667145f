// The message every row carries: one line of JSON, 1500 bytes, a token of 1270.
#pragma once

#include <sys/time.h>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

inline constexpr std::size_t frame_size = 1500;
inline constexpr std::size_t token_size = 1270;

/// As the sender encodes it. Each restamp() makes a new token and a higher serial; the length never changes.
class Frame {
public:
    Frame() {
        timeval now{};
        ::gettimeofday(&now, nullptr);
        serial_ = static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_usec;
        text_ = R"({"access_token":")";
        token_at_ = text_.size();
        text_ += std::string(token_size, 'k') +
                 R"(","token_type":"Bearer","expires_at":4102444800,"serial":)";
        serial_at_ = text_.size();
        constexpr std::string_view end = "\",\"account\":\"bench\"}\n";
        text_ += std::string(digits, '0') + R"(,"scope":")";
        text_ += std::string(frame_size - text_.size() - end.size(), 's').append(end);
        restamp();
    }

    void restamp() noexcept {
        ++serial_;
        std::to_chars(&text_[token_at_], &text_[token_at_ + digits], serial_);
        std::to_chars(&text_[serial_at_], &text_[serial_at_ + digits], serial_);
    }

    [[nodiscard]] std::string_view line() const noexcept { return text_; }
    [[nodiscard]] std::string_view token() const noexcept {
        return std::string_view(text_).substr(token_at_, token_size);
    }

private:
    static constexpr std::size_t digits = 16;  // microseconds since 1970, until the year 2286
    std::string text_;
    std::size_t token_at_ = 0;
    std::size_t serial_at_ = 0;
    std::int64_t serial_ = 0;
};

/// What a hand-written receiver does to find the token: no JSON parser, the least possible work.
inline std::string_view find_token(std::string_view line) noexcept {
    constexpr std::string_view key = R"("access_token":")";
    const auto begin = line.find(key);
    if (begin == std::string_view::npos) return {};
    const auto rest = line.substr(begin + key.size());
    return rest.substr(0, rest.find('"'));
}

}  // namespace bench
