#include "tokenrelay/message.hpp"

#include <strings.h>

#include <algorithm>
#include <array>

#include "tokenrelay/json.hpp"
#include "tokenrelay/limits.hpp"
#include "tokenrelay/scan.hpp"

namespace tokenrelay {
namespace {

enum Key : std::uint8_t {
    kAccessToken,
    kRefreshToken,
    kTokenType,
    kScope,
    kAccount,
    kRefresh,
    kReason,
    kExpiresAt,
    kSerial,
    kIssuedAt,
    kGrantExpiresAt,
    kUnknown,
};
constexpr Key kFirstInteger = kExpiresAt;  // before it are the strings

constexpr std::array<std::string_view, kUnknown> kNames{
    "access_token", "refresh_token", "token_type", "scope",     "account",         "refresh",
    "reason",       "expires_at",    "serial",     "issued_at", "grant_expires_at"};
Key key_of(std::string_view name) noexcept {
    return static_cast<Key>(std::find(kNames.begin(), kNames.end(), name) - kNames.begin());
}

Refusal malformed(Detail& detail, std::string_view key, std::string_view problem) noexcept {
    detail << key << problem;
    return Refusal::malformed;
}

// `printable`: every byte is known to be allowed.
Refusal check_token(std::string_view key, std::string_view token, bool printable,
                    Detail& detail) noexcept {
    const auto bad =
        printable ? token.end() : std::find_if_not(token.begin(), token.end(), is_printable);
    if (token.empty()) {
        detail << key << " is empty";
    } else if (token.size() > kMaxToken) {
        detail << key << " has " << token.size() << " bytes, at most " << kMaxToken << " allowed";
    } else if (bad != token.end()) {
        detail << key << " has a byte outside 0x21-0x7E at byte "
               << static_cast<std::uint64_t>(bad - token.begin());
    } else {
        return Refusal::none;
    }
    return Refusal::invalid_token;
}

// One frame that is an object.
class ObjectCheck {
public:
    ObjectCheck(std::span<char> line, Detail& detail) noexcept : object_(line), detail_(detail) {}

    Refusal run(Message& message) noexcept {
        JsonMember member;
        while (object_.next(member)) {
            if (const auto refusal = field(member); refusal != Refusal::none) return refusal;
        }
        if (!object_.problem().empty()) {
            detail_ << object_.problem() << " at byte " << object_.place();
            return Refusal::malformed;
        }
        if (const auto refusal = judge(message); refusal != Refusal::none) return refusal;
        message.update = {.access_token = texts_[kAccessToken],
                          .refresh_token = texts_[kRefreshToken],
                          .scope = texts_[kScope],
                          .account = texts_[kAccount],
                          .expires_at = number(kExpiresAt),
                          .serial = number(kSerial),
                          .issued_at = number(kIssuedAt),
                          .grant_expires_at = number(kGrantExpiresAt)};
        return Refusal::none;
    }

private:
    Refusal field(const JsonMember& member) noexcept {
        const Key key = key_of(member.key);
        if (key == kUnknown) return unknown(member.key);
        if (seen_ >> key & 1) return malformed(detail_, kNames[key], " stands twice");
        seen_ |= 1U << key;
        if (member.kind == JsonKind::null) return Refusal::none;
        return key < kFirstInteger ? string(key, member) : integer(key, member);
    }

    Refusal unknown(std::string_view name) noexcept {
        if (unknown_count_ == kMaxUnknownKeys) {
            return malformed(detail_, "", "more than 64 unknown keys");
        }
        const auto end = unknown_.begin() + static_cast<std::ptrdiff_t>(unknown_count_);
        if (std::any_of(unknown_.begin(), end,
                        [name](const Unknown& key) { return key.name() == name; })) {
            return malformed(detail_, "", "duplicate key");
        }
        unknown_[unknown_count_++] = {name.data(), name.size()};
        return Refusal::none;
    }

    Refusal string(Key key, const JsonMember& member) noexcept {
        if (member.kind != JsonKind::string) {
            return malformed(detail_, kNames[key], " is not a string");
        }
        texts_[key] = member.text;
        printable_ |= static_cast<unsigned>(member.printable) << key;
        return Refusal::none;
    }

    Refusal integer(Key key, const JsonMember& member) noexcept {
        if (member.kind != JsonKind::integer) {
            return malformed(detail_, kNames[key],
                             member.kind == JsonKind::fraction ? " is a float, not an integer"
                                                               : " is not an integer");
        }
        const std::int64_t limit = key == kSerial ? kMaxSerial : kMaxUnixTime;
        if (member.integer < 0 || member.integer > limit) {
            return malformed(detail_, kNames[key],
                             key == kSerial ? " is out of range, 0 to 2^53-1 allowed"
                                            : " is out of range: Unix seconds, not milliseconds");
        }
        numbers_[key - kFirstInteger] = member.integer;
        has_number_ |= 1U << key;
        return Refusal::none;
    }

    Refusal judge(Message& message) noexcept {
        const bool has_token = texts_[kAccessToken].data() != nullptr;
        if (texts_[kRefresh] == "refused" && !has_token) {
            message.kind = MessageKind::refresh_refused;
            return Refusal::none;
        }
        if (!has_token) return malformed(detail_, kNames[kAccessToken], " is missing");
        const std::string_view type = texts_[kTokenType];
        if (type.data() && (type.size() != 6 || strncasecmp(type.data(), "bearer", 6) != 0)) {
            detail_ << "token_type is not Bearer";
            return Refusal::unsupported;
        }
        const auto refusal = token(kAccessToken);
        if (refusal != Refusal::none || !texts_[kRefreshToken].data()) return refusal;
        return token(kRefreshToken);
    }

    Refusal token(Key key) noexcept {
        return check_token(kNames[key], texts_[key], printable_ >> key & 1, detail_);
    }

    std::optional<std::int64_t> number(Key key) const noexcept {
        if (!(has_number_ >> key & 1)) return std::nullopt;
        return numbers_[key - kFirstInteger];
    }

    // Not a string_view: those would be zeroed for each frame.
    struct Unknown {
        const char* data;
        std::size_t size;
        std::string_view name() const noexcept { return {data, size}; }
    };

    JsonObject object_;
    Detail& detail_;
    std::array<std::string_view, kFirstInteger> texts_{};
    std::array<std::int64_t, kUnknown - kFirstInteger> numbers_;
    // A bit for each Key.
    unsigned seen_ = 0;
    unsigned printable_ = 0;
    unsigned has_number_ = 0;
    std::size_t unknown_count_ = 0;
    std::array<Unknown, kMaxUnknownKeys> unknown_;
};

bool is_object(std::span<const char> line) noexcept {
    const auto first = std::find_if_not(line.begin(), line.end(),
                                        [](char byte) { return byte == ' ' || byte == '\t'; });
    return first != line.end() && *first == '{';
}

}  // namespace

Refusal parse_message(std::span<char> line, Message& message, Detail& detail) noexcept {
    if (line.size() > kMaxFrame) {
        detail << kTooLarge;
        return Refusal::too_large;
    }
    if (is_object(line)) return ObjectCheck(line, detail).run(message);
    message.bare = true;
    message.update.access_token = {line.data(), line.size()};
    return check_token("the token", message.update.access_token, false, detail);
}

void answer_accepted(Answer& answer, std::uint64_t generation) noexcept {
    answer << "{\"ok\":true,\"generation\":" << generation << "}\n";
}

void answer_refused(Answer& answer, Refusal refusal, std::string_view detail,
                    std::optional<std::int64_t> serial) noexcept {
    answer << "{\"ok\":false,\"error\":\"" << code(refusal) << "\",\"detail\":\"" << detail << "\"";
    if (serial) answer << ",\"serial\":" << static_cast<std::uint64_t>(*serial);
    answer << "}\n";
}

void ask_refresh(Answer& answer, std::int64_t serial) noexcept {
    answer << "{\"request\":\"refresh\",\"serial\":" << static_cast<std::uint64_t>(serial) << "}\n";
}

}  // namespace tokenrelay
