#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>

#include "check.hpp"
#include "peer.hpp"
#include "simdjson.h"
#include "tokenrelay/paths.hpp"

using namespace tokenrelay;
namespace json = simdjson::dom;

namespace {

Environment environment_of(json::object item) {
    std::map<std::string, std::string> variables;
    const json::object given = item["variables"].get_object().value();
    for (const auto [key, value] : given) {
        variables.emplace(key, value.get_string().value());
    }
    std::vector<std::string> existing;
    const json::array paths = item["existing"].get_array().value();
    for (const auto path : paths) {
        existing.emplace_back(path.get_string().value());
    }
    return {[variables](const char* name) {
                const auto at = variables.find(name);
                return at == variables.end() ? std::string() : at->second;
            },
            [existing](const std::string& path) {
                return std::find(existing.begin(), existing.end(), path) != existing.end();
            },
            static_cast<uid_t>(item["uid"].get_uint64().value())};
}

mode_t mode_of(const std::string& path) {
    struct stat status{};
    return stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

}  // namespace

TEST(the_runtime_directory_is_where_the_vectors_say) {
    json::parser parser;
    json::array cases;
    CHECK(!parser.load(TOKENRELAY_VECTORS "/paths.json").get_array().get(cases));
    for (json::object item : cases) {
        CHECK_EQUAL(runtime_directory(environment_of(item)), item["runtime"].get_string().value());
    }
    CHECK(cases.size() > 0);
}

TEST(account_names_follow_the_rule) {
    for (const char* name :
         {"a", "0", "schwab", "my-broker_2", "abcdefghijklmnopqrstuvwxyz012345"}) {
        CHECK(is_account_name(name));
    }
    for (const char* name : {"", "-a", "_a", "A", "a b", "a/b", "..", "ä", "a\n",
                             "abcdefghijklmnopqrstuvwxyz0123456"}) {
        CHECK(!is_account_name(name));
    }
}

TEST(a_program_name_becomes_a_label) {
    CHECK_EQUAL(program_label("My Engine.v2"), "my_engine_v2");
    CHECK_EQUAL(program_label("0123456789abcdefXYZ"), "0123456789abcdef");
    CHECK_EQUAL(program_label("../x"), "___x");
    CHECK_EQUAL(program_label(""), "program");
}

TEST(a_missing_directory_is_made_with_its_parents_for_us_alone) {
    const check::TemporaryDirectory directory;
    umask(0);
    CHECK(!ensure_private_directory(directory / "a/b/c"));
    umask(022);
    for (const char* name : {"a", "a/b", "a/b/c"}) CHECK_EQUAL(mode_of(directory / name), 0700U);
    CHECK(!ensure_private_directory(directory / "a/b/c"));
}

TEST(a_directory_open_to_others_is_refused_with_the_cure) {
    const check::TemporaryDirectory directory;
    mkdir((directory / "open").c_str(), 0700);
    for (const mode_t mode : {0750U, 0705U, 0777U}) {
        chmod((directory / "open").c_str(), mode);
        const auto error = ensure_private_directory(directory / "open");
        CHECK_EQUAL(error.number(), EPERM);
        CHECK(error.message().ends_with("Type: chmod 700 " + (directory / "open")));
    }
}

TEST(something_else_in_its_place_is_refused) {
    const check::TemporaryDirectory directory;
    std::ofstream(directory / "file") << "x";
    CHECK_EQUAL(ensure_private_directory(directory / "file").number(), ENOTDIR);
    CHECK_EQUAL(symlink("nowhere", (directory / "dangling").c_str()), 0);
    CHECK_EQUAL(ensure_private_directory(directory / "dangling").number(), ENOENT);
    CHECK(static_cast<bool>(ensure_private_directory("/proc/nothing/here")));
}

TEST(a_link_of_our_own_is_followed) {
    const check::TemporaryDirectory directory;
    mkdir((directory / "real").c_str(), 0700);
    CHECK_EQUAL(symlink("real", (directory / "link").c_str()), 0);
    CHECK(!ensure_private_directory(directory / "link"));
}

TEST(a_directory_or_link_of_another_user_is_refused) {
    SKIP_UNLESS(geteuid() == 0, "only root can make one");
    constexpr uid_t kStranger = 54321;
    const check::TemporaryDirectory directory;
    mkdir((directory / "theirs").c_str(), 0700);
    CHECK_EQUAL(chown((directory / "theirs").c_str(), kStranger, kStranger), 0);
    CHECK_EQUAL(ensure_private_directory(directory / "theirs").number(), EPERM);
    mkdir((directory / "ours").c_str(), 0700);
    CHECK_EQUAL(symlink("ours", (directory / "link").c_str()), 0);
    CHECK_EQUAL(lchown((directory / "link").c_str(), kStranger, kStranger), 0);
    CHECK_EQUAL(ensure_private_directory(directory / "link").number(), EPERM);
}
