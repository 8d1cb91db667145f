// Token: one immutable snapshot of what a frame said, never separate fields.
//
// A Token seen through a guard lives in the receiver's locked memory and is valid while the guard is
// held. A copy owns its bytes and may be kept or passed to any thread; its destructor wipes them.
// All const members are wait-free and safe from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string_view>

#include "tokenrelay/clock.hpp"
#include "tokenrelay/export.h"

namespace tokenrelay {

// A frame's contents, decoded and valid; views into the frame.
struct TokenUpdate {
    std::string_view access_token;
    std::string_view refresh_token;
    std::string_view scope;
    std::string_view account;
    std::optional<std::int64_t> expires_at;
    std::optional<std::int64_t> serial;
    std::optional<std::int64_t> issued_at;
    std::optional<std::int64_t> grant_expires_at;
};

class TOKENRELAY_API Token {
public:
    Token() noexcept = default;
    Token(const Token& other);
    Token(Token&& other) noexcept;
    Token& operator=(const Token& other);
    Token& operator=(Token&& other) noexcept;
    ~Token();

    std::string_view access_token() const noexcept {
        return authorization().substr(authorization_.size ? kScheme.size() : 0);
    }
    // "Bearer …", as an Authorization header wants it (RFC 6750 §2.1).
    std::string_view authorization() const noexcept { return text(authorization_); }
    std::string_view scope() const noexcept { return text(scope_); }
    std::string_view account() const noexcept { return text(account_); }
    // Empty unless the sender sent it and the receiver keeps refresh tokens.
    std::string_view refresh_token() const noexcept { return text(refresh_token_); }

    std::int64_t expires_at() const noexcept { return expires_at_; }  // Unix seconds
    // Time left by the wall clock or by CLOCK_BOOTTIME, whichever says less; negative once expired.
    std::chrono::nanoseconds expires_in() const noexcept { return expires_in(now()); }
    std::chrono::nanoseconds expires_in(Now now) const noexcept;
    bool expired() const noexcept { return expires_in().count() <= 0; }
    std::optional<std::int64_t> issued_at() const noexcept { return issued_at_; }
    std::optional<std::int64_t> grant_expires_at() const noexcept { return grant_expires_at_; }
    std::optional<std::int64_t> serial() const noexcept { return serial_; }
    std::uint64_t generation() const noexcept { return generation_; }  // 0: empty
    std::int64_t received_at_ns() const noexcept { return received_at_; }  // CLOCK_BOOTTIME

    // Makes this token the snapshot of `update`, its strings copied to `storage`, which must outlive
    // it and is not owned. Not safe beside readers: the receiver's writer calls it before publication.
    void fill(const TokenUpdate& update, char* storage, std::uint64_t generation, Now now) noexcept;
    // The same without a copy, where the strings lie behind `storage` already, the access token with
    // room for the scheme before it.
    void fill_in_place(const TokenUpdate& update, char* storage, std::uint64_t generation,
                       Now now) noexcept;
    // Wipes the bytes and empties the token; the same rule as fill().
    void clear() noexcept;

private:
    static constexpr std::string_view kScheme = "Bearer ";

    // Of the bytes.
    struct Part {
        std::uint32_t begin = 0;
        std::uint32_t size = 0;
    };

    std::string_view text(Part part) const noexcept { return {bytes_ + part.begin, part.size}; }
    void take_values(const TokenUpdate& update, std::uint64_t generation, Now now) noexcept;
    void take_fields(const Token& other) noexcept;

    char* bytes_ = nullptr;
    std::uint32_t size_ = 0;  // of the bytes, up to the last part's end
    Part authorization_;
    Part scope_;
    Part account_;
    Part refresh_token_;
    std::uint64_t generation_ = 0;
    std::int64_t expires_at_ = 0;
    std::int64_t boot_deadline_ = 0;  // ns, CLOCK_BOOTTIME
    std::int64_t received_at_ = 0;
    std::optional<std::int64_t> serial_;
    std::optional<std::int64_t> issued_at_;
    std::optional<std::int64_t> grant_expires_at_;
    bool owned_ = false;
};

// Redacted: generation and expiry, never the token.
TOKENRELAY_API std::ostream& operator<<(std::ostream& stream, const Token& token);

}  // namespace tokenrelay
