#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "check.hpp"
#include "peer.hpp"
#include "tokenrelay/socket.hpp"

using namespace tokenrelay;
using check::Peer;
using check::TemporaryDirectory;

namespace {

SocketPlace fixed(const std::string& path, mode_t mode = 0600) {
    return {
        .path = path, .directory = {}, .program = {}, .locks = path + ".locks/locks", .mode = mode};
}

SocketPlace discovered(const TemporaryDirectory& directory) {
    return {.path = {}, .directory = directory / "run/schwab", .program = "engine", .locks = {}};
}

mode_t mode_of(const std::string& path) {
    struct stat status{};
    return stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

bool exists(const std::string& path) { return std::filesystem::exists(path); }

// Another program's listening socket.
struct OtherServer {
    explicit OtherServer(const std::string& where, int type = SOCK_STREAM)
        : path(where), peer(type) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, path.c_str());
        CHECK_EQUAL(bind(peer.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        if (type != SOCK_DGRAM) CHECK_EQUAL(listen(peer.fd(), 1), 0);
        inode = inode_at_path();
    }
    bool in_place() const { return inode_at_path() == inode; }
    ino_t inode_at_path() const {
        struct stat status{};
        return lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
    }
    std::string path;
    Peer peer;
    ino_t inode = 0;
};

}  // namespace

TEST(a_fixed_socket_has_its_mode_whatever_the_umask) {
    const TemporaryDirectory directory;
    for (const mode_t mask : {0000U, 0077U}) {
        for (const mode_t mode : {0600U, 0660U, 0666U}) {
            umask(mask);
            ListeningSocket socket;
            CHECK(!socket.open(fixed(directory / "s", mode)));
            CHECK_EQUAL(mode_of(directory / "s"), mode);
            CHECK(Peer(directory / "s").connected());
        }
    }
    umask(022);
}

TEST(a_discovered_socket_is_named_and_alone_in_a_private_directory) {
    const TemporaryDirectory directory;
    ListeningSocket socket;
    CHECK(!socket.open(discovered(directory)));
    const std::string prefix = directory / ("run/schwab/engine-" + std::to_string(getpid()) + "-");
    CHECK(socket.path().starts_with(prefix));
    CHECK(socket.path().ends_with(".sock"));
    CHECK_EQUAL(socket.path().size(), prefix.size() + 8 + 5);
    CHECK_EQUAL(mode_of(directory / "run"), 0700U);
    CHECK_EQUAL(mode_of(socket.directory()), 0700U);
    CHECK_EQUAL(mode_of(socket.path()), 0600U);
    CHECK(Peer(socket.path()).connected());
    for (const auto& entry : std::filesystem::directory_iterator(socket.directory())) {
        CHECK_EQUAL(entry.path().string(), socket.path());
    }
    socket.close();
    CHECK(std::filesystem::is_empty(directory / "run/schwab"));
}

TEST(a_runtime_directory_open_to_others_is_refused) {
    const TemporaryDirectory directory;
    mkdir((directory / "run").c_str(), 0755);
    ListeningSocket socket;
    CHECK_EQUAL(socket.open(discovered(directory)).number(), EPERM);
    CHECK(!exists(directory / "run/schwab"));
}

TEST(a_path_may_have_107_bytes) {
    const TemporaryDirectory directory;
    const std::string path = directory / std::string(107 - directory.path().size() - 1, 's');
    ListeningSocket socket;
    CHECK_EQUAL(path.size(), 107U);
    CHECK(!socket.open(fixed(path)));
    CHECK(Peer(path).connected());
    ListeningSocket other;
    const auto error = other.open(fixed(path + "s"));
    CHECK_EQUAL(error.number(), ENAMETOOLONG);
    CHECK(error.message().find("108 bytes") != std::string::npos);
}

TEST(a_long_directory_leaves_room_for_a_short_name) {
    const TemporaryDirectory directory;
    const std::string deep = directory / std::string(105 - directory.path().size() - 1, 'd');
    mkdir(deep.c_str(), 0700);
    ListeningSocket socket;
    CHECK(!socket.open(fixed(deep + "/s")));
    CHECK(Peer(deep + "/s").connected());
}

TEST(bad_places_are_errors_that_say_what_to_do) {
    const TemporaryDirectory directory;
    ListeningSocket socket;
    auto missing = fixed(directory / "missing/s");
    missing.locks = directory / "run/locks";
    CHECK_EQUAL(socket.open(missing).number(), ENOENT);
    std::ofstream(directory / "file") << "x";
    CHECK_EQUAL(socket.open(fixed(directory / "file")).number(), EEXIST);
    CHECK(exists(directory / "file"));
    mkdir((directory / "folder").c_str(), 0700);
    CHECK_EQUAL(socket.open(fixed(directory / "folder")).number(), EEXIST);
    CHECK_EQUAL(socket.open(fixed(directory / std::string("a\0b", 3))).number(), EINVAL);
    CHECK(socket.fd() < 0);
}

TEST(a_live_owner_is_an_error_that_names_it) {
    const TemporaryDirectory directory;
    ListeningSocket first;
    ListeningSocket second;
    CHECK(!first.open(fixed(directory / "s")));
    const auto error = second.open(fixed(directory / "s"));
    CHECK_EQUAL(error.number(), EADDRINUSE);
    CHECK(error.message().find("process " + std::to_string(getpid()) + " (") != std::string::npos);
    CHECK(first.in_place());
    first.close();
    CHECK(!second.open(fixed(directory / "s")));
}

TEST(a_live_socket_of_another_program_is_not_taken) {
    const TemporaryDirectory directory;
    OtherServer other(directory / "s");
    ListeningSocket socket;
    const auto error = socket.open(fixed(directory / "s"));
    CHECK_EQUAL(error.number(), EADDRINUSE);
    CHECK(error.message().find("process " + std::to_string(getpid()) + " (") != std::string::npos);
}

namespace {

void check_somebody_elses(const std::string& path, const OtherServer& other) {
    ListeningSocket socket;
    const auto error = socket.open(fixed(path));
    CHECK_EQUAL(error.number(), EADDRINUSE);
    CHECK(error.message().find("in use by another program. Stop it") != std::string::npos);
    CHECK(other.in_place());
}

}  // namespace

TEST(a_live_socket_is_not_taken_whatever_its_type) {
    for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
        const TemporaryDirectory directory;
        OtherServer other(directory / "s", type);
        check_somebody_elses(directory / "s", other);
    }
}

TEST(a_live_socket_with_a_full_queue_is_not_taken) {
    const TemporaryDirectory directory;
    OtherServer other(directory / "s");
    std::vector<Peer> queue;
    do queue.emplace_back(SOCK_STREAM | SOCK_NONBLOCK);
    while (queue.back().connect(directory / "s"));
    check_somebody_elses(directory / "s", other);
}

TEST(a_socket_that_cannot_be_asked_is_not_taken) {
    SKIP_UNLESS(geteuid() == 0, "only root can become another, whom the directory lets replace it");
    const TemporaryDirectory directory;
    OtherServer other(directory / "s");
    chmod((directory / "s").c_str(), 0);
    CHECK_EQUAL(chown(directory.path().c_str(), 54321, 54321), 0);
    CHECK_EQUAL(seteuid(54321), 0);
    ListeningSocket socket;
    const auto error = socket.open(fixed(directory / "s"));
    CHECK_EQUAL(error.number(), EACCES);
    CHECK(error.message().find("Remove it if none does") != std::string::npos);
    CHECK(other.in_place());
    CHECK_EQUAL(seteuid(0), 0);
}

TEST(a_stale_socket_is_taken_over) {
    const TemporaryDirectory directory;
    {
        OtherServer other(directory / "s");
    }
    CHECK(exists(directory / "s"));
    ListeningSocket socket;
    CHECK(!socket.open(fixed(directory / "s")));
    CHECK(Peer(directory / "s").connected());
}

TEST(the_lock_ends_with_its_process) {
    const TemporaryDirectory directory;
    const pid_t child = fork();
    if (child == 0) {
        ListeningSocket socket;
        _exit(socket.open(fixed(directory / "s")) ? 1 : 0);  // without removing the socket
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQUAL(status, 0);
    CHECK(exists(directory / "s"));
    ListeningSocket socket;
    CHECK(!socket.open(fixed(directory / "s")));
}

TEST(a_link_in_place_of_the_lock_file_is_not_followed) {
    const TemporaryDirectory directory;
    CHECK_EQUAL(symlink("target", (directory / "s.lock").c_str()), 0);
    ListeningSocket socket;
    CHECK_EQUAL(socket.open(fixed(directory / "s")).number(), ELOOP);
    CHECK(!exists(directory / "target"));
}

TEST(in_a_directory_of_others_the_lock_is_in_ours) {
    SKIP_UNLESS(geteuid() == 0, "only root can make one");
    const TemporaryDirectory directory;
    mkdir((directory / "theirs").c_str(), 0777);
    CHECK_EQUAL(chown((directory / "theirs").c_str(), 54321, 54321), 0);
    auto place = fixed(directory / "theirs/s");
    place.locks = directory / "run/locks";
    ListeningSocket first;
    ListeningSocket second;
    CHECK(!first.open(place));
    CHECK(!exists(directory / "theirs/s.lock"));
    CHECK_EQUAL(mode_of(directory / "run/locks"), 0700U);
    CHECK(!std::filesystem::is_empty(directory / "run/locks"));
    CHECK_EQUAL(second.open(place).number(), EADDRINUSE);
}

namespace {

// In a child: says whether it became the owner, and stays until the parent lets go.
[[noreturn]] void start_in_child(const std::string& path, int said, int leave) {
    ListeningSocket socket;
    const char owner = socket.open(fixed(path)) ? 0 : 1;
    static_cast<void>(!write(said, &owner, 1));
    char byte = 0;
    static_cast<void>(!read(leave, &byte, 1));
    _exit(0);
}

int owners_of_a_race(const std::string& path) {
    int said[2];
    int leave[2];
    if (pipe(said) != 0 || pipe(leave) != 0) return -1;
    for (int i = 0; i < 2; ++i) {
        if (fork() != 0) continue;
        close(leave[1]);
        start_in_child(path, said[1], leave[0]);
    }
    int owners = 0;
    for (int i = 0; i < 2; ++i) {
        char owner = 0;
        if (read(said[0], &owner, 1) == 1) owners += owner;
    }
    for (const int fd : {said[0], said[1], leave[0], leave[1]}) close(fd);
    while (wait(nullptr) > 0) {
    }
    return owners;
}

}  // namespace

TEST(two_starters_at_a_stale_socket_end_with_one_owner) {
    const TemporaryDirectory directory;
    for (int round = 0; round < 100; ++round) {
        const std::string path = directory / std::to_string(round);
        {
            OtherServer stale(path);
        }
        CHECK_EQUAL(owners_of_a_race(path), 1);
    }
}

TEST(a_removed_socket_is_bound_again_and_a_foreign_one_left_alone) {
    const TemporaryDirectory directory;
    ListeningSocket socket;
    CHECK(!socket.open(fixed(directory / "s")));
    CHECK(socket.in_place());
    unlink((directory / "s").c_str());
    CHECK(!socket.in_place());
    CHECK(!socket.reopen());
    CHECK(Peer(directory / "s").connected());
    unlink((directory / "s").c_str());
    {
        OtherServer other(directory / "s");
        CHECK_EQUAL(socket.reopen().number(), EADDRINUSE);
        socket.close();
        CHECK(exists(directory / "s"));
    }
}

TEST(a_removed_directory_is_made_again_for_a_discovered_socket) {
    const TemporaryDirectory directory;
    ListeningSocket socket;
    CHECK(!socket.open(discovered(directory)));
    std::filesystem::remove_all(directory / "run");
    CHECK(!socket.reopen());
    CHECK(Peer(socket.path()).connected());
}

TEST(an_abandoned_socket_leaves_the_file) {
    const TemporaryDirectory directory;
    ListeningSocket socket;
    CHECK(!socket.open(fixed(directory / "s")));
    socket.abandon();
    socket.close();
    CHECK(exists(directory / "s"));
}

TEST(only_our_user_and_those_named_are_allowed) {
    int pair[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    CHECK(peer_is_allowed(pair[0], {}));
    if (geteuid() == 0) {
        CHECK_EQUAL(seteuid(54321), 0);
        CHECK(!peer_is_allowed(pair[0], {}));  // root is no exception
        CHECK(peer_is_allowed(pair[0], {0}));
        CHECK_EQUAL(seteuid(0), 0);
    }
    CHECK(!peer_is_allowed(-1, {geteuid()}));
    close(pair[0]);
    close(pair[1]);
}
