#include "tokenrelay/socket.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "tokenrelay/inherited_socket.hpp"
#include "tokenrelay/paths.hpp"

namespace tokenrelay {
namespace {

constexpr int kBacklog = 64;
constexpr uid_t kOverflowUid = 65534;  // a peer that our user namespace can't name

std::string hex(std::uint64_t number) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
    return text;
}

std::string random_name() {
    std::uint32_t number = 0;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        number = static_cast<std::uint32_t>(getpid());
    return hex(number).substr(8);
}

// FNV-1a: names a lock file; not for secrecy.
std::uint64_t hash(std::string_view text) {
    std::uint64_t value = 0xcbf29ce484222325U;
    for (char byte : text) value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
    return value;
}

std::string parent_of(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == path.npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

bool fill_address(sockaddr_un& address, const std::string& path) {
    address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, path.data(), path.size());
    return true;
}

UniqueFd stream_socket() {
    return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

std::string process_name(pid_t pid) {
    char name[32] = "unknown";
    UniqueFd file(::open(("/proc/" + std::to_string(pid) + "/comm").c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return name;
    const ssize_t size = read(file.get(), name, sizeof name - 1);
    return {name, size > 0 ? static_cast<std::size_t>(size) - 1 : 0};
}

// `pid`: 0 where it is not known.
Error in_use(const std::string& path, pid_t pid) {
    const std::string owner =
        pid == 0 ? "another program"
                 : "process " + std::to_string(pid) + " (" + process_name(pid) + ")";
    return {EADDRINUSE,
            path + " is in use by " + owner + ". Stop it, or give this receiver a path of its own"};
}

Error too_long(const std::string& path) {
    return {ENAMETOOLONG, "the socket path has " + std::to_string(path.size()) +
                              " bytes, at most 107 are possible: " + path +
                              ". Choose a shorter one, or a shorter TOKENRELAY_RUNTIME_DIR"};
}

bool owned_by_us(const std::string& directory) {
    struct stat status{};
    return stat(directory.c_str(), &status) == 0 && status.st_uid == geteuid();
}

// `directory`/`name`, through /proc/self/fd where the plain path does not fit into an address.
class ShortPath {
public:
    ShortPath(const std::string& directory, const std::string& name)
        : path_(directory + "/" + name) {
        sockaddr_un address;
        if (fill_address(address, path_)) return;
        directory_ = UniqueFd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        path_ = "/proc/self/fd/" + std::to_string(directory_.get()) + "/" + name;
    }
    const std::string& get() const { return path_; }

private:
    UniqueFd directory_;
    std::string path_;
};

}  // namespace

ListeningSocket::~ListeningSocket() { close(); }

std::string ListeningSocket::directory() const { return parent_of(path_); }

Error ListeningSocket::open(const SocketPlace& place) {
    place_ = place;
    if (place.path.empty()) {
        if (auto error = ensure_directories()) return error;
        path_ = place.directory + "/" + place.program + "-" + std::to_string(getpid()) + "-" +
                random_name() + ".sock";
    } else {
        path_ = place.path;
    }
    sockaddr_un address;
    if (!fill_address(address, path_)) return too_long(path_);
    if (path_.find('\0') != path_.npos) return {EINVAL, "the socket path has a NUL byte"};
    if (!place.path.empty()) {
        // Before the lock file is made beside it.
        if (auto error = refuse_other_file()) return error;
        if (auto error = take_lock()) return error;
        if (take_inherited()) return {};
        if (auto error = refuse_live_owner()) return error;
    }
    return bind_and_rename();
}

Error ListeningSocket::reopen() {
    if (place_.path.empty()) {
        if (auto error = ensure_directories()) return error;
    } else if (auto error = refuse_live_owner()) {
        return error;
    }
    return bind_and_rename();
}

// Both: whoever owns RUNTIME could replace RUNTIME/ACCOUNT.
Error ListeningSocket::ensure_directories() const {
    if (auto error = ensure_private_directory(parent_of(place_.directory))) return error;
    return ensure_private_directory(place_.directory);
}

Error ListeningSocket::take_lock() {
    const std::string directory = parent_of(path_);
    std::string lock_path = path_ + ".lock";
    if (!owned_by_us(directory)) {
        // In a directory of others anybody could make our sibling file first.
        if (auto error = ensure_private_directory(parent_of(place_.locks))) return error;
        if (auto error = ensure_private_directory(place_.locks)) return error;
        lock_path = place_.locks + "/" + hex(hash(path_));
    }
    lock_ = UniqueFd(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock_) {
        return system_error(errno, "cannot open the lock file " + lock_path,
                            "The directory must exist and be writable");
    }
    char text[16] = "";
    if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return system_error(errno, "cannot lock " + lock_path);
        const ssize_t size = pread(lock_.get(), text, sizeof text - 1, 0);
        pid_t pid = 0;
        std::from_chars(text, text + std::max<ssize_t>(size, 0), pid);
        lock_.reset();
        return in_use(path_, pid);
    }
    const int size = std::snprintf(text, sizeof text, "%d\n", getpid());
    if (ftruncate(lock_.get(), 0) != 0 ||
        pwrite(lock_.get(), text, static_cast<std::size_t>(size), 0) != size) {
        return system_error(errno, "cannot write the lock file " + lock_path);
    }
    return {};
}

Error ListeningSocket::refuse_other_file() const {
    struct stat status{};
    if (lstat(path_.c_str(), &status) != 0 || S_ISSOCK(status.st_mode)) return {};
    return {EEXIST, path_ + " exists and is not a socket. Remove it, or choose another path"};
}

// Under the lock no tokenrelay receiver can be alive here, but another program's socket can.
Error ListeningSocket::refuse_live_owner() const {
    if (auto error = refuse_other_file()) return error;
    sockaddr_un address;
    fill_address(address, path_);
    UniqueFd probe = stream_socket();
    if (!probe) return system_error(errno, "cannot make a socket");
    if (connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        ucred peer{};
        socklen_t size = sizeof peer;
        getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size);
        return in_use(path_, peer.pid);
    }
    switch (errno) {
        case ECONNREFUSED:  // stale
        case ENOENT:        // removed meanwhile
            return {};
        case EAGAIN:      // as many wait for it as may
        case EPROTOTYPE:  // of another type than ours
            return in_use(path_, 0);
        default:
            return system_error(errno, "cannot tell whether a program listens at " + path_,
                                "Remove it if none does, or give this receiver a path of its own");
    }
}

bool ListeningSocket::take_inherited() noexcept {
    UniqueFd fd = inherited_socket(path_);
    struct stat status{};
    // listen(2) again has the kernel name this process as the listener, unix(7): until then senders
    // see the service manager, whose user may be another.
    if (!fd || listen(fd.get(), kBacklog) != 0 || lstat(path_.c_str(), &status) != 0) return false;
    fd_ = std::move(fd);
    device_ = status.st_dev;
    inode_ = status.st_ino;
    inherited_ = true;
    return true;
}

Error ListeningSocket::bind_and_rename() {
    const std::string directory = parent_of(path_);
    const std::string name = '.' + std::to_string(getpid()) + "-" + random_name();
    const ShortPath temporary(directory, name);
    const char* cure = "The directory must exist and be writable for you";
    UniqueFd fd = stream_socket();
    if (!fd) return system_error(errno, "cannot make a socket");
    // On Linux the file gets the socket's own mode less the umask (unix(7)), so that no other
    // thread's files are touched by a changed umask.
    sockaddr_un address;
    if (!fill_address(address, temporary.get())) return too_long(path_);
    if (fchmod(fd.get(), place_.mode & 0777) != 0 ||
        bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        return system_error(errno, "cannot bind " + path_, cure);
    }
    struct stat status{};
    if (chmod(address.sun_path, place_.mode & 0777) != 0 || listen(fd.get(), kBacklog) != 0 ||
        lstat(address.sun_path, &status) != 0 || rename(address.sun_path, path_.c_str()) != 0) {
        auto error = system_error(errno, "cannot put the socket at " + path_, cure);
        unlink(address.sun_path);
        return error;
    }
    fd_ = std::move(fd);
    device_ = status.st_dev;
    inode_ = status.st_ino;
    inherited_ = false;
    return {};
}

bool ListeningSocket::in_place() const noexcept {
    struct stat status{};
    return lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
           status.st_ino == inode_;
}

void ListeningSocket::close() noexcept {
    if (fd_ && !inherited_ && in_place()) unlink(path_.c_str());
    abandon();
}

void ListeningSocket::abandon() noexcept {
    fd_.reset();
    lock_.reset();
}

bool peer_is_allowed(int fd, const std::vector<uid_t>& allowed) noexcept {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
    if (peer.uid == geteuid()) return true;
    return peer.uid != kOverflowUid &&
           std::find(allowed.begin(), allowed.end(), peer.uid) != allowed.end();
}

}  // namespace tokenrelay
