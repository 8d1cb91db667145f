#include <cerrno>
#include <set>

#include "check.hpp"
#include "tokenrelay/error.hpp"

using namespace tokenrelay;

TEST(each_refusal_has_a_code_of_its_own) {
    std::set<std::string_view> codes;
    for (int i = 0; i < kRefusals; ++i) codes.insert(code(static_cast<Refusal>(i)));
    CHECK_EQUAL(codes.size(), static_cast<std::size_t>(kRefusals));
    CHECK_EQUAL(code(Refusal::none), "");
    CHECK_EQUAL(code(Refusal::too_large), "too_large");
    CHECK_EQUAL(code(Refusal::invalid_token), "invalid_token");
    CHECK_EQUAL(code(Refusal::busy), "busy");
}

TEST(an_error_tests_true_and_no_error_false) {
    CHECK(!Error());
    const Error error(EINVAL, "bad");
    CHECK(static_cast<bool>(error));
    CHECK_EQUAL(error.number(), EINVAL);
    CHECK_EQUAL(error.message(), "bad");
}

TEST(a_system_error_names_what_why_and_the_cure) {
    const Error error = system_error(ENOENT, "cannot bind /x", "Make the directory");
    CHECK_EQUAL(error.number(), ENOENT);
    CHECK_EQUAL(error.message(), "cannot bind /x: No such file or directory. Make the directory");
    CHECK_EQUAL(system_error(ENOENT, "x").message(), "x: No such file or directory");
    // The C library's own words.
    CHECK(system_error(123456, "x").message().size() > 3);
}
