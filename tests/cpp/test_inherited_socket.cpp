#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "check.hpp"
#include "peer.hpp"
#include "tokenrelay/inherited_socket.hpp"
#include "tokenrelay/socket.hpp"

using namespace tokenrelay;
using check::Peer;
using check::TemporaryDirectory;

namespace {

// A service manager's work for this process: a socket that listens, and the variables that say so.
class Activation {
public:
    explicit Activation(const std::string& path, int type = SOCK_STREAM)
        : fd_(::socket(AF_UNIX, type, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, path.c_str());
        CHECK_EQUAL(bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        if (type == SOCK_STREAM) CHECK_EQUAL(listen(fd_.get(), 1), 0);
        announce(getpid(), fd_.get() - 2);
    }
    ~Activation() {
        unsetenv("LISTEN_PID");
        unsetenv("LISTEN_FDS");
    }
    static void announce(pid_t pid, int count) {
        setenv("LISTEN_PID", std::to_string(pid).c_str(), 1);
        setenv("LISTEN_FDS", std::to_string(count).c_str(), 1);
    }
    int fd() const { return fd_.get(); }

private:
    UniqueFd fd_;
};

SocketPlace fixed(const std::string& path) {
    return {.path = path, .directory = {}, .program = {}, .locks = path + ".locks/locks"};
}

ino_t inode_of(const std::string& path) {
    struct stat status{};
    return stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace

TEST(the_inherited_socket_at_the_path_is_taken_and_left) {
    const TemporaryDirectory directory;
    const Activation activation(directory / "s");
    const ino_t inode = inode_of(directory / "s");
    Peer early(directory / "s");
    for (int round = 0; round < 2; ++round) {
        ListeningSocket socket;
        CHECK(!socket.open(fixed(directory / "s")));
        CHECK(socket.fd() != activation.fd());
        CHECK_EQUAL(fcntl(socket.fd(), F_GETFD), FD_CLOEXEC);
        CHECK((fcntl(socket.fd(), F_GETFL) & O_NONBLOCK) != 0);
        CHECK(socket.in_place());
        if (round == 0) CHECK(UniqueFd(accept(socket.fd(), nullptr, nullptr)).get() >= 0);
        socket.close();
        CHECK_EQUAL(inode_of(directory / "s"), inode);
    }
    CHECK(Peer(directory / "s").connected());
}

TEST(one_receiver_at_a_time_takes_it) {
    const TemporaryDirectory directory;
    const Activation activation(directory / "s");
    ListeningSocket first;
    ListeningSocket second;
    CHECK(!first.open(fixed(directory / "s")));
    CHECK_EQUAL(second.open(fixed(directory / "s")).number(), EADDRINUSE);
}

TEST(what_is_not_ours_is_not_taken) {
    const TemporaryDirectory directory;
    const Activation activation(directory / "s");
    CHECK(!inherited_socket(directory / "other"));
    CHECK(inherited_socket(directory / "s"));
    Activation::announce(getppid(), activation.fd() - 2);
    CHECK(!inherited_socket(directory / "s"));
    Activation::announce(getpid(), activation.fd() - 3);
    CHECK(!inherited_socket(directory / "s"));
    setenv("LISTEN_FDS", "many", 1);
    CHECK(!inherited_socket(directory / "s"));
}

TEST(a_datagram_socket_is_not_taken) {
    const TemporaryDirectory directory;
    const Activation activation(directory / "s", SOCK_DGRAM);
    CHECK(!inherited_socket(directory / "s"));
}

TEST(a_forked_child_inherits_nothing) {
    const TemporaryDirectory directory;
    const Activation activation(directory / "s");
    const pid_t child = fork();
    if (child == 0) _exit(inherited_socket(directory / "s") ? 1 : 0);
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

TEST(after_its_removal_a_socket_of_our_own_takes_its_place) {
    const TemporaryDirectory directory;
    const Activation activation(directory / "s");
    ListeningSocket socket;
    CHECK(!socket.open(fixed(directory / "s")));
    unlink((directory / "s").c_str());
    CHECK(!socket.in_place());
    CHECK(!socket.reopen());
    CHECK(Peer(directory / "s").connected());
    socket.close();
    CHECK_EQUAL(inode_of(directory / "s"), 0U);
}
