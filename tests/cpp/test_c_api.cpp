// The C API, as a binding meets it: what it returns, what it leaves alone.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "receiver_fixture.hpp"
#include "tokenrelay/tokenrelay.h"

using check::Peer;

namespace {

constexpr std::int64_t kPatienceNs = 30'000'000'000;

struct Destroy {
    void operator()(tokenrelay_receiver* receiver) const { tokenrelay_destroy(receiver); }
};
using Receiver = std::unique_ptr<tokenrelay_receiver, Destroy>;

Receiver make(const std::string& path) {
    tokenrelay_options options{};
    options.size = sizeof options;
    options.path = path.c_str();
    return Receiver(tokenrelay_create(&options));
}

struct Started {
    check::TemporaryDirectory directory;
    std::string path = directory / "s";
    Receiver receiver = make(path);

    Started() {
        char message[256];
        if (tokenrelay_start(receiver.get(), message, sizeof message) != 0) {
            check::fail(__FILE__, __LINE__, message);
        }
    }
};

tokenrelay_info empty_info() {
    tokenrelay_info info{};
    info.size = sizeof info;
    return info;
}

std::string copied(const Receiver& receiver, tokenrelay_text text) {
    std::vector<char> buffer(TOKENRELAY_TEXT_SIZE);
    if (tokenrelay_copy(receiver.get(), text, buffer.data(), buffer.size(), nullptr) != 0) {
        return "nothing";
    }
    return buffer.data();
}

}  // namespace

TEST(c_api_copies_each_text_and_what_is_known_of_it) {
    const Started started;
    Peer(started.path)
        .ask(
            R"({"access_token":"abc","expires_at":4102444800,"serial":7,"scope":"a b","issued_at":5})"
            "\n");
    CHECK_EQUAL(copied(started.receiver, TOKENRELAY_AUTHORIZATION), "Bearer abc");
    CHECK_EQUAL(copied(started.receiver, TOKENRELAY_ACCESS_TOKEN), "abc");
    CHECK_EQUAL(copied(started.receiver, TOKENRELAY_SCOPE), "a b");
    char buffer[11];
    auto info = empty_info();
    CHECK_EQUAL(tokenrelay_copy(started.receiver.get(), TOKENRELAY_AUTHORIZATION, buffer,
                                sizeof buffer, &info),
                0);
    CHECK_EQUAL(std::string(buffer), "Bearer abc");
    CHECK_EQUAL(info.length, 10U);
    CHECK_EQUAL(info.generation, 1U);
    CHECK_EQUAL(info.expires_at, 4102444800);
    CHECK(info.expires_in_ns > 0);
    CHECK_EQUAL(info.serial, 7);
    CHECK_EQUAL(info.issued_at, 5);
    CHECK_EQUAL(info.grant_expires_at, -1);
    CHECK_EQUAL(tokenrelay_generation(started.receiver.get()), 1U);
}

TEST(c_api_leaves_a_buffer_that_is_too_small_alone) {
    const Started started;
    Peer(started.path).ask("abc\n");
    char buffer[10] = "untouched";
    auto info = empty_info();
    CHECK_EQUAL(tokenrelay_copy(started.receiver.get(), TOKENRELAY_AUTHORIZATION, buffer,
                                sizeof buffer, &info),
                ENOSPC);
    CHECK_EQUAL(std::string(buffer), "untouched");
    CHECK_EQUAL(info.length, 10U);
    CHECK_EQUAL(info.serial, -1);
    CHECK_EQUAL(
        tokenrelay_copy(started.receiver.get(), TOKENRELAY_ACCESS_TOKEN, nullptr, 0, nullptr),
        ENOSPC);
}

TEST(c_api_says_that_there_is_no_token_and_what_it_does_not_know) {
    const Started started;
    char buffer[16];
    auto info = empty_info();
    auto* const receiver = started.receiver.get();
    CHECK_EQUAL(tokenrelay_copy(receiver, TOKENRELAY_SCOPE, buffer, sizeof buffer, &info), ENODATA);
    CHECK_EQUAL(tokenrelay_generation(receiver), 0U);
    Peer(started.path).ask("abc\n");
    info.size = 1;
    CHECK_EQUAL(tokenrelay_copy(receiver, TOKENRELAY_SCOPE, buffer, sizeof buffer, &info), EINVAL);
    CHECK_EQUAL(
        tokenrelay_copy(receiver, static_cast<tokenrelay_text>(3), buffer, sizeof buffer, nullptr),
        EINVAL);
    tokenrelay_options options{};
    options.size = 1;
    CHECK(tokenrelay_create(&options) == nullptr);
}

TEST(c_api_start_says_the_cause_within_the_buffer) {
    const Started owner;
    const Receiver second = make(owner.path);
    char message[256] = "";
    CHECK_EQUAL(tokenrelay_start(second.get(), message, sizeof message), EADDRINUSE);
    CHECK(std::strstr(message, std::to_string(getpid()).c_str()));
    char cut[5] = "";
    CHECK_EQUAL(tokenrelay_start(second.get(), cut, sizeof cut), EADDRINUSE);
    CHECK_EQUAL(std::string(cut), std::string(message, 4));
    CHECK_EQUAL(tokenrelay_start(second.get(), nullptr, 0), EADDRINUSE);
    // Started already: nothing to do, nothing to say.
    CHECK_EQUAL(tokenrelay_start(owner.receiver.get(), message, sizeof message), 0);
    CHECK_EQUAL(std::string(message), "");
}

TEST(c_api_wait_ends_at_a_token_at_the_timeout_and_at_stop) {
    const Started started;
    auto* const receiver = started.receiver.get();
    CHECK_EQUAL(tokenrelay_wait(receiver, 0, 0), ETIMEDOUT);
    Peer(started.path).ask("abc\n");
    CHECK_EQUAL(tokenrelay_wait(receiver, -1, 0), 0);
    CHECK_EQUAL(tokenrelay_wait(receiver, 1'000'000, 1), ETIMEDOUT);
    std::thread stopper([receiver] { tokenrelay_stop(receiver); });
    CHECK_EQUAL(tokenrelay_wait(receiver, -1, 1), ECANCELED);
    stopper.join();
    CHECK_EQUAL(copied(started.receiver, TOKENRELAY_ACCESS_TOKEN), "abc");
}

TEST(c_api_calls_back_with_the_token_that_a_copy_then_finds) {
    const Started started;
    struct Seen {
        tokenrelay_receiver* receiver;
        std::string text;
        std::atomic<std::uint64_t> generation{0};
    } seen{started.receiver.get(), "", {}};
    auto* const subscription = tokenrelay_subscribe(
        started.receiver.get(),
        [](void* user, const tokenrelay_info* info) {
            auto& told = *static_cast<Seen*>(user);
            std::vector<char> buffer(info->length + 1);
            CHECK_EQUAL(tokenrelay_copy(told.receiver, TOKENRELAY_AUTHORIZATION, buffer.data(),
                                        buffer.size(), nullptr),
                        0);
            told.text = buffer.data();
            told.generation = info->generation;
        },
        &seen);
    CHECK(subscription != nullptr);
    Peer sender(started.path);
    // The callback comes before the answer.
    sender.ask(check::frame(1));
    CHECK_EQUAL(seen.text, "Bearer t1");
    sender.ask(check::frame(2));
    CHECK_EQUAL(seen.generation, 2U);
    tokenrelay_cancel(subscription);
    sender.ask(check::frame(3));
    CHECK_EQUAL(seen.generation, 2U);
    tokenrelay_cancel(nullptr);
}

TEST(c_api_a_subscription_may_outlive_its_receiver) {
    auto started = std::make_unique<Started>();
    auto* const subscription = tokenrelay_subscribe(
        started->receiver.get(), [](void*, const tokenrelay_info*) {}, nullptr);
    started.reset();
    tokenrelay_cancel(subscription);
    tokenrelay_destroy(nullptr);
}

TEST(c_api_asks_for_a_refresh_of_the_newest_token_alone) {
    const Started started;
    Peer sender(started.path);
    sender.ask(check::frame(1));
    sender.ask(check::frame(2));
    tokenrelay_request_refresh(started.receiver.get(), 1);
    tokenrelay_request_refresh(started.receiver.get(), 2);
    CHECK_EQUAL(sender.line().value_or(""), R"({"request":"refresh","serial":2})");
}

TEST(c_api_event_fd_is_readable_after_a_token) {
    const Started started;
    const int fd = tokenrelay_event_fd(started.receiver.get());
    CHECK(fd >= 0);
    pollfd event{fd, POLLIN, 0};
    CHECK_EQUAL(poll(&event, 1, 0), 0);
    Peer(started.path).ask("abc\n");
    CHECK_EQUAL(poll(&event, 1, static_cast<int>(kPatienceNs / 1'000'000)), 1);
    CHECK_EQUAL(tokenrelay_event_fd(started.receiver.get()), fd);
}

TEST(c_api_options_reach_the_receiver) {
    const check::TemporaryDirectory directory;
    const std::string path = directory / "s";
    const uid_t stranger = check::kStranger;
    tokenrelay_options options{};
    options.size = sizeof options;
    options.path = path.c_str();
    options.mode = 0660;
    options.allow_uids = &stranger;
    options.allow_uids_count = 1;
    options.busy_poll_ns = 1;
    options.pin_cpu = 1;
    const Receiver receiver(tokenrelay_create(&options));
    char message[256];
    CHECK_EQUAL(tokenrelay_start(receiver.get(), message, sizeof message), 0);
    struct stat status{};
    CHECK_EQUAL(stat(path.c_str(), &status), 0);
    CHECK_EQUAL(status.st_mode & 0777U, 0660U);
}
