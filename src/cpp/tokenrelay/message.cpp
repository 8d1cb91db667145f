#include "tokenrelay/message.hpp"

#include <strings.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "simdjson.h"
#include "tokenrelay/frame.hpp"
#include "tokenrelay/limits.hpp"

namespace tokenrelay {
namespace {

namespace json = simdjson::dom;
using simdjson::error_code;

enum class Key : std::uint8_t {
    access_token,
    refresh_token,
    token_type,
    scope,
    account,
    expires_at,
    serial,
    issued_at,
    grant_expires_at,
    refresh,
    reason,
    unknown,
};

constexpr std::array<std::string_view, 11> kKeys{
    "access_token", "refresh_token", "token_type",       "scope",   "account", "expires_at",
    "serial",       "issued_at",     "grant_expires_at", "refresh", "reason"};

// By length first: two comparisons at most.
Key key_of(std::string_view name) noexcept {
    const auto is = [name](Key key) { return name == kKeys[static_cast<std::size_t>(key)]; };
    switch (name.size()) {
        case 5:
            return is(Key::scope) ? Key::scope : Key::unknown;
        case 6:
            return is(Key::serial) ? Key::serial : is(Key::reason) ? Key::reason : Key::unknown;
        case 7:
            return is(Key::account) ? Key::account : is(Key::refresh) ? Key::refresh : Key::unknown;
        case 9:
            return is(Key::issued_at) ? Key::issued_at : Key::unknown;
        case 10:
            return is(Key::expires_at)   ? Key::expires_at
                   : is(Key::token_type) ? Key::token_type
                                         : Key::unknown;
        case 12:
            return is(Key::access_token) ? Key::access_token : Key::unknown;
        case 13:
            return is(Key::refresh_token) ? Key::refresh_token : Key::unknown;
        case 16:
            return is(Key::grant_expires_at) ? Key::grant_expires_at : Key::unknown;
        default:
            return Key::unknown;
    }
}

constexpr bool is_integer_key(Key key) noexcept {
    return key >= Key::expires_at && key <= Key::grant_expires_at;
}

constexpr bool in_token_alphabet(char byte) noexcept {
    return static_cast<unsigned char>(byte - 0x21) <= 0x7E - 0x21;
}

// Without a branch a byte, so that it is vectorised: tokens are long and nearly always good.
bool all_in_token_alphabet(std::string_view text) noexcept {
    unsigned char farthest = 0;
    for (char byte : text) farthest = std::max(farthest, static_cast<unsigned char>(byte - 0x21));
    return farthest <= 0x7E - 0x21;
}

std::string_view skip_blanks(std::string_view line) noexcept {
    const auto at = line.find_first_not_of(" \t");
    return at == line.npos ? std::string_view{} : line.substr(at);
}

std::string_view name(Key key) noexcept { return kKeys[static_cast<std::size_t>(key)]; }

std::string_view describe(error_code error) noexcept {
    switch (error) {
        case simdjson::DEPTH_ERROR:
            return "nested value";
        case simdjson::UTF8_ERROR:
            return "not UTF-8";
        case simdjson::STRING_ERROR:
            return "bad string";
        case simdjson::UNCLOSED_STRING:
            return "unclosed string";
        case simdjson::UNESCAPED_CHARS:
            return "control character in a string";
        case simdjson::NUMBER_ERROR:
        case simdjson::BIGINT_ERROR:
            return "bad number, or one out of range";
        case simdjson::T_ATOM_ERROR:
        case simdjson::F_ATOM_ERROR:
        case simdjson::N_ATOM_ERROR:
            return "bad true, false or null";
        default:
            return "not a JSON object (RFC 8259)";
    }
}

}  // namespace

struct MessageParser::Impl {
    json::parser parser{kMaxFrame};
    std::array<std::string_view, kMaxKeys> unknown_keys;
    std::size_t unknown_count = 0;
    unsigned seen = 0;  // a bit for each Key
    std::string_view token_type;
    bool refused_refresh = false;
    std::size_t parsed = 0;  // bytes of the last frame
    bool ready = false;      // buffers are there

    // How much of the parser's copies the last frame can have filled: simdjson's own bound.
    std::size_t string_bytes() const noexcept {
        const std::size_t bound = 5 * parsed / 3 + LineBuffer::kPadding;
        return std::min(bound, 5 * parser.doc.capacity() / 3);
    }

    Refusal parse_object(std::string_view line, Message& message, Detail& detail) noexcept;
    Refusal field(std::string_view key, json::element value, Message& message,
                  Detail& detail) noexcept;
    bool repeated(Key key, std::string_view text) noexcept;
    static Refusal integer(Key key, json::element value, TokenUpdate& update,
                           Detail& detail) noexcept;
    Refusal string(Key key, json::element value, Message& message, Detail& detail) noexcept;
    Refusal judge(Message& message, Detail& detail) const noexcept;
};

namespace {

Refusal check_token(std::string_view key, std::string_view token, Detail& detail) noexcept {
    if (token.empty()) {
        detail << key << " is empty";
    } else if (token.size() > kMaxToken) {
        detail << key << " has " << token.size() << " bytes, at most " << kMaxToken << " allowed";
    } else if (!all_in_token_alphabet(token)) {
        const auto bad = std::find_if_not(token.begin(), token.end(), in_token_alphabet);
        detail << key << " has a byte outside 0x21-0x7E at byte "
               << static_cast<std::uint64_t>(bad - token.begin());
    } else {
        return Refusal::none;
    }
    return Refusal::invalid_token;
}

Refusal malformed(Detail& detail, std::string_view key, std::string_view problem) noexcept {
    detail << key << problem;
    return Refusal::malformed;
}

Refusal parse_bare(std::string_view line, Message& message, Detail& detail) noexcept {
    message.bare = true;
    message.update.access_token = line;
    return check_token("the token", line, detail);
}

}  // namespace

MessageParser::MessageParser() : impl_(std::make_unique<Impl>()) {
    // Here, so that no frame allocates; without memory every JSON frame is refused. Depth 2 is one
    // flat object: simdjson counts the root.
    impl_->ready = !impl_->parser.allocate(kMaxFrame, 2) && !impl_->parser.doc.allocate(kMaxFrame);
    // Makes the first frame as fast as the thousandth.
    char warm_up[LineBuffer::kPadding * 2] = R"({"access_token":"a"})";
    Message message;
    Detail detail;
    static_cast<void>(parse({warm_up, 20}, message, detail));
    wipe();
}

MessageParser::~MessageParser() { wipe(); }

Refusal MessageParser::parse(std::string_view line, Message& message, Detail& detail) noexcept {
    message = {};
    if (line.size() > kMaxFrame) return Refusal::too_large;
    const std::string_view text = skip_blanks(line);
    if (!text.starts_with('{')) return parse_bare(line, message, detail);
    return impl_->parse_object(text, message, detail);
}

void MessageParser::wipe() noexcept {
    auto& strings = impl_->parser.doc.string_buf;
    if (strings) explicit_bzero(strings.get(), impl_->string_bytes());
    impl_->parsed = 0;
}

Refusal MessageParser::Impl::parse_object(std::string_view line, Message& message,
                                          Detail& detail) noexcept {
    if (!ready) {
        detail << "out of memory";
        return Refusal::busy;
    }
    unknown_count = 0;
    seen = 0;
    token_type = "Bearer";
    refused_refresh = false;
    parsed = line.size();
    json::element document;
    auto error = parser.parse(line.data(), line.size(), false).get(document);
    json::object object;
    if (!error) error = document.get_object().get(object);
    if (error) return malformed(detail, describe(error), "");
    for (const auto [key, value] : object) {
        if (const auto refusal = field(key, value, message, detail); refusal != Refusal::none) {
            return refusal;
        }
    }
    return judge(message, detail);
}

Refusal MessageParser::Impl::field(std::string_view text, json::element value, Message& message,
                                   Detail& detail) noexcept {
    const Key key = key_of(text);
    if (key == Key::unknown && unknown_count == kMaxKeys) {
        return malformed(detail, "", "more than 64 unknown keys");
    }
    if (repeated(key, text)) {
        return key == Key::unknown ? malformed(detail, "", "duplicate key")
                                   : malformed(detail, name(key), " stands twice");
    }
    if (value.is_array() || value.is_object()) return malformed(detail, "", "nested value");
    if (key == Key::unknown || value.is_null()) return Refusal::none;
    return is_integer_key(key) ? integer(key, value, message.update, detail)
                               : string(key, value, message, detail);
}

bool MessageParser::Impl::repeated(Key key, std::string_view text) noexcept {
    if (key != Key::unknown) {
        const unsigned bit = 1U << static_cast<unsigned>(key);
        const bool before = seen & bit;
        seen |= bit;
        return before;
    }
    const auto end = unknown_keys.begin() + static_cast<std::ptrdiff_t>(unknown_count);
    if (std::find(unknown_keys.begin(), end, text) != end) return true;
    unknown_keys[unknown_count++] = text;
    return false;
}

Refusal MessageParser::Impl::integer(Key key, json::element value, TokenUpdate& update,
                                     Detail& detail) noexcept {
    std::int64_t number = 0;
    if (!value.is_int64() || value.get_int64().get(number)) {
        const bool is_float = value.type() == json::element_type::DOUBLE;
        return malformed(detail, name(key),
                         is_float ? " is a float, not an integer" : " is not an integer in range");
    }
    const std::int64_t limit = key == Key::serial ? kMaxSerial : kMaxUnixTime;
    if (number < 0 || number > limit) {
        return malformed(detail, name(key),
                         key == Key::serial ? " is out of range, 0 to 2^53-1 allowed"
                                            : " is out of range: Unix seconds, not milliseconds");
    }
    switch (key) {
        case Key::expires_at:
            update.expires_at = number;
            break;
        case Key::serial:
            update.serial = number;
            break;
        case Key::issued_at:
            update.issued_at = number;
            break;
        default:
            update.grant_expires_at = number;
            break;
    }
    return Refusal::none;
}

Refusal MessageParser::Impl::string(Key key, json::element value, Message& message,
                                    Detail& detail) noexcept {
    std::string_view text;
    if (value.get_string().get(text)) return malformed(detail, name(key), " is not a string");
    switch (key) {
        case Key::access_token:
            message.update.access_token = text;
            break;
        case Key::refresh_token:
            message.update.refresh_token = text;
            break;
        case Key::token_type:
            token_type = text;
            break;
        case Key::scope:
            message.update.scope = text;
            break;
        case Key::account:
            message.update.account = text;
            break;
        case Key::reason:
            message.reason = text;
            break;
        default:
            refused_refresh = text == "refused";
            break;
    }
    return Refusal::none;
}

Refusal MessageParser::Impl::judge(Message& message, Detail& detail) const noexcept {
    const TokenUpdate& update = message.update;
    if (refused_refresh && update.access_token.data() == nullptr) {
        message.kind = MessageKind::refresh_refused;
        return Refusal::none;
    }
    if (update.access_token.data() == nullptr) {
        return malformed(detail, name(Key::access_token), " is missing");
    }
    if (token_type.size() != 6 || strncasecmp(token_type.data(), "bearer", 6) != 0) {
        detail << "token_type is not Bearer";
        return Refusal::unsupported;
    }
    const auto refusal = check_token(name(Key::access_token), update.access_token, detail);
    if (refusal != Refusal::none || update.refresh_token.data() == nullptr) return refusal;
    return check_token(name(Key::refresh_token), update.refresh_token, detail);
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
