// The usual hand-written receiver: a thread in a select loop of 500 ms, so that it can be stopped,
// and a std::string behind a mutex, copied in and out.
//   receive_mutex --ledger FILE --socket PATH
#include <sys/select.h>

#include <mutex>
#include <thread>

#include "frame.hpp"
#include "ledger.hpp"
#include "unix_socket.hpp"

namespace {

class Holder {
public:
    void store(std::string_view token) {
        const std::lock_guard lock(mutex_);
        token_ = std::string(token);
    }
    std::string load() {
        const std::lock_guard lock(mutex_);
        return token_;
    }

private:
    std::mutex mutex_;
    std::string token_;
};

bool readable(int descriptor) {
    fd_set descriptors;
    FD_ZERO(&descriptors);
    FD_SET(descriptor, &descriptors);
    timeval timeout{0, 500'000};
    return ::select(descriptor + 1, &descriptors, nullptr, nullptr, &timeout) > 0;
}

void serve(bench::Ledger& ledger, int connection, Holder& holder) {
    std::string pending;
    char buffer[4096];
    for (;;) {
        if (!readable(connection)) continue;
        const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
        if (got <= 0) return;
        pending.append(buffer, static_cast<std::size_t>(got));
        const auto end = pending.find('\n');
        if (end == std::string::npos) continue;
        const std::int64_t received = bench::now_ns();
        holder.store(bench::find_token(std::string_view(pending).substr(0, end)));
        pending.erase(0, end + 1);
        if (holder.load().size() != bench::token_size) bench::fail("token");
        ledger.stamp(received, bench::now_ns());
        bench::send_all(connection, bench::accepted_reply);
    }
}

}  // namespace

int main(int count, char** values) {
    const bench::Arguments arguments(count, values);
    bench::Ledger& ledger = bench::map_ledger(arguments.text("--ledger"));
    const int listener = bench::listen_at(arguments.text("--socket"));
    bench::say("ready");
    const int connection = bench::accept_from(listener);
    Holder holder;
    std::thread(serve, std::ref(ledger), connection, std::ref(holder)).join();
}
