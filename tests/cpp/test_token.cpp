#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>
#include <sstream>
#include <string>
#include <utility>

#include "check.hpp"
#include "tokenrelay/limits.hpp"
#include "tokenrelay/token.hpp"

using namespace tokenrelay;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr Now kNow{1'700'000'000 * kSecond, 50 * kSecond};

// The array that the next Token copy allocates, and whether it was zero when it was freed.
struct Watch {
    void* array = nullptr;
    std::size_t size = 0;
    bool armed = false;
    bool wiped = false;
} watch;

void watch_release(void* array) noexcept {
    if (array != watch.array || !array) return;
    const char* bytes = static_cast<const char*>(array);
    watch.wiped = std::all_of(bytes, bytes + watch.size, [](char byte) { return byte == 0; });
    watch.array = nullptr;
}

const TokenUpdate kUpdate{.access_token = "access",
                          .refresh_token = "refresh",
                          .scope = "scope",
                          .account = "account",
                          .expires_at = 1'700'000'060,
                          .serial = 7,
                          .issued_at = 1'699'999'999,
                          .grant_expires_at = 1'700'600'000};

struct Filled {
    char storage[128] = {};
    Token token;
    explicit Filled(const TokenUpdate& update = kUpdate, Now now = kNow) {
        token.fill(update, storage, 3, now);
    }
};

// A frame, of which a token is made where its strings are.
struct InPlace {
    char storage[128] = R"({"access_token":"access","scope":"scope","account":"account",)"
                        R"("refresh_token":"refresh"})";
    Token token;
    InPlace() {
        TokenUpdate update = kUpdate;
        for (auto* text :
             {&update.access_token, &update.scope, &update.account, &update.refresh_token}) {
            const std::string value = ":\"" + std::string(*text) + '"';
            const auto at = std::string_view(storage).find(value) + 2;
            *text = std::string_view(storage).substr(at, text->size());
        }
        token.fill_in_place(update, storage, 3, kNow);
    }
};

void check_contents(const Token& token) {
    CHECK_EQUAL(token.access_token(), "access");
    CHECK_EQUAL(token.authorization(), "Bearer access");
    CHECK_EQUAL(token.refresh_token(), "refresh");
    CHECK_EQUAL(token.scope(), "scope");
    CHECK_EQUAL(token.account(), "account");
    CHECK_EQUAL(token.expires_at(), 1'700'000'060);
    CHECK_EQUAL(token.generation(), 3U);
    CHECK_EQUAL(token.received_at_ns(), kNow.boot);
    CHECK(token.serial() == 7);
    CHECK(token.issued_at() == 1'699'999'999);
    CHECK(token.grant_expires_at() == 1'700'600'000);
}

void check_empty(const Token& token) {
    CHECK_EQUAL(token.access_token(), "");
    CHECK_EQUAL(token.authorization(), "");
    CHECK_EQUAL(token.refresh_token(), "");
    CHECK_EQUAL(token.generation(), 0U);
    CHECK(token.expired());
}

std::int64_t left(const Token& token, std::int64_t wall_seconds, std::int64_t boot_seconds) {
    const Now now{kNow.wall + wall_seconds * kSecond, kNow.boot + boot_seconds * kSecond};
    return token.expires_in(now).count() / kSecond;
}

}  // namespace

[[gnu::noinline]] void* operator new[](std::size_t size) {
    void* array = std::malloc(size);
    if (!array) throw std::bad_alloc();
    if (watch.armed) watch = {array, size, false, false};
    return array;
}
[[gnu::noinline]] void operator delete[](void* array) noexcept {
    watch_release(array);
    std::free(array);
}
[[gnu::noinline]] void operator delete[](void* array, std::size_t) noexcept {
    watch_release(array);
    std::free(array);
}

TEST(an_empty_token_is_expired) { check_empty(Token()); }

TEST(a_token_is_what_the_frame_said) {
    const Filled filled;
    check_contents(filled.token);
}

TEST(a_token_may_be_made_where_its_frame_is) {
    InPlace frame;
    check_contents(frame.token);
    CHECK_EQUAL(static_cast<const void*>(frame.token.access_token().data()),
                static_cast<const void*>(frame.storage + 17));
    const Token copy = frame.token;
    frame.token.clear();
    check_empty(frame.token);
    // All but the quote and the brace behind the last string.
    CHECK(std::count(frame.storage, frame.storage + sizeof frame.storage, '\0') ==
          sizeof frame.storage - 2);
    check_contents(copy);
}

TEST(a_token_without_expiry_lives_half_an_hour) {
    TokenUpdate update;
    update.access_token = "a";
    const Filled filled(update);
    CHECK_EQUAL(filled.token.expires_at(), 1'700'000'000 + kDefaultLifetime);
    CHECK(!filled.token.serial());
    CHECK_EQUAL(filled.token.scope(), "");
}

TEST(clearing_wipes_the_bytes) {
    Filled filled;
    filled.token.clear();
    CHECK(std::all_of(filled.storage, filled.storage + sizeof filled.storage,
                      [](char byte) { return byte == 0; }));
    check_empty(filled.token);
}

TEST(a_copy_outlives_its_source) {
    Filled filled;
    const Token copy = filled.token;
    filled.token.clear();
    check_contents(copy);
    const Token second = copy;
    check_contents(second);
}

TEST(a_copy_wipes_itself) {
    Filled filled;
    {
        watch.armed = true;
        const Token copy = filled.token;
        CHECK(!watch.armed);
    }
    CHECK(watch.wiped);
    Token assigned;
    watch.armed = true;
    assigned = filled.token;
    assigned = Token();
    CHECK(watch.wiped);
}

TEST(a_move_takes_owned_bytes_and_empties_the_source) {
    Filled filled;
    Token first = filled.token;
    const char* const bytes = first.authorization().data();
    Token second = std::move(first);
    CHECK(second.authorization().data() == bytes);
    check_contents(second);
    check_empty(first);
    first = std::move(second);
    check_contents(first);
}

TEST(a_move_from_a_guarded_token_copies) {
    Filled filled;
    const Token moved = std::move(filled.token);
    check_contents(moved);
    check_contents(filled.token);
}

TEST(assignment_to_itself_changes_nothing) {
    Filled filled;
    Token token = filled.token;
    auto& same = token;
    token = same;
    token = std::move(same);
    check_contents(token);
}

TEST(expiry_goes_by_the_clock_that_says_older) {
    const Filled filled;
    CHECK_EQUAL(left(filled.token, 0, 0), 60);
    CHECK_EQUAL(left(filled.token, 20, 20), 40);
    CHECK_EQUAL(left(filled.token, -3600, 20), 40);  // the wall clock was set back
    CHECK_EQUAL(left(filled.token, 50, 20), 10);     // or forward
    CHECK_EQUAL(left(filled.token, 60, 60), 0);
    CHECK_EQUAL(left(filled.token, 10, 3600), 60 - 3600);
}

TEST(far_off_expiries_do_not_overflow) {
    TokenUpdate update;
    update.access_token = "a";
    update.expires_at = kMaxUnixTime;
    constexpr auto kLast = std::numeric_limits<std::int64_t>::max();
    const Filled filled(update, {kNow.wall, kLast - 1});
    CHECK(filled.token.expires_in({kNow.wall, 0}).count() > 0);
    CHECK_EQUAL(filled.token.expires_at(), kMaxUnixTime);
    update.expires_at = 0;
    const Filled past(update);
    CHECK(past.token.expires_in(kNow).count() < 0);
}

TEST(a_stream_never_shows_the_token) {
    const Filled filled;
    std::ostringstream stream;
    stream << filled.token;
    CHECK_EQUAL(stream.str(), "<Token generation=3 expires_at=1700000060>");
}
