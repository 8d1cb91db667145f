#include "tokenrelay/paths.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace tokenrelay {
namespace {

bool is_label_byte(char byte) noexcept {
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '_' ||
           byte == '-';
}

bool is_directory(const std::string& path) {
    struct stat status{};
    return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

void make_parents(const std::string& path) {
    for (std::size_t at = path.find('/', 1); at != path.npos; at = path.find('/', at + 1)) {
        mkdir(path.substr(0, at).c_str(), 0700);
    }
}

}  // namespace

Environment Environment::current() {
    return {[](const char* name) {
                const char* value = secure_getenv(name);
                return std::string(value ? value : "");
            },
            is_directory, geteuid()};
}

std::string runtime_directory(const Environment& environment) {
    if (auto own = environment.variable("TOKENRELAY_RUNTIME_DIR"); !own.empty()) return own;
    // A relative path is to be ignored, says the specification.
    if (auto base = environment.variable("XDG_RUNTIME_DIR"); base.starts_with('/')) {
        return base + "/tokenrelay";
    }
    const std::string uid = std::to_string(environment.uid);
    if (environment.directory_exists("/run/user/" + uid)) return "/run/user/" + uid + "/tokenrelay";
    return "/tmp/tokenrelay-" + uid;
}

bool is_account_name(std::string_view name) noexcept {
    return !name.empty() && name.size() <= 32 && name[0] != '_' && name[0] != '-' &&
           std::all_of(name.begin(), name.end(), is_label_byte);
}

std::string program_label(std::string_view program) {
    std::string label;
    for (char byte : program.substr(0, 16)) {
        if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte - 'A' + 'a');
        label += is_label_byte(byte) ? byte : '_';
    }
    return label.empty() ? "program" : label;
}

Error ensure_private_directory(const std::string& path) {
    if (mkdir(path.c_str(), 0700) != 0 && errno == ENOENT) {
        make_parents(path);
        mkdir(path.c_str(), 0700);
    }
    struct stat link{};
    struct stat target{};
    if (lstat(path.c_str(), &link) != 0 || stat(path.c_str(), &target) != 0) {
        return system_error(errno, "cannot use the directory " + path,
                            "Set TOKENRELAY_RUNTIME_DIR to a directory of yours");
    }
    if (!S_ISDIR(target.st_mode)) {
        return {ENOTDIR, path + " is not a directory. Remove it, or set TOKENRELAY_RUNTIME_DIR"};
    }
    const uid_t user = geteuid();
    // In /tmp anybody can leave a directory, or a link to one of ours.
    if (target.st_uid != user || (link.st_uid != user && link.st_uid != 0)) {
        return {EPERM, path +
                           " belongs to another user, who could read or replace what is in it. "
                           "Have it removed, or set TOKENRELAY_RUNTIME_DIR"};
    }
    if ((target.st_mode & 077) != 0) {
        return {EPERM, path + " is open to other users. Type: chmod 700 " + path};
    }
    return {};
}

}  // namespace tokenrelay
