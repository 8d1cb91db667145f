// The harness: TEST(a_sentence) { CHECK(…); CHECK_EQUAL(a, b); }, and a main() for each file.
// Usage of a test program: test_NAME [PART OF A TEST'S NAME] [--long SECONDS]
#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

namespace check {

struct Test {
    const char* name;
    void (*run)();
};

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

inline std::atomic<int> failures{0};
inline double long_seconds = 0;  // stress tests run for so long instead of a moment

inline void fail(const char* file, int line, const std::string& what) {
    ++failures;
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

inline void skipped(const char* reason) { std::fprintf(stderr, "skipped: %s\n", reason); }

template <class A, class B>
void equal(const A& a, const B& b, const char* text, const char* file, int line) {
    if (a == b) return;
    std::ostringstream message;
    message << text << ": " << a << " is not " << b;
    fail(file, line, message.str());
}

struct Registered {
    Registered(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

inline int run(int count, char** arguments) {
    const char* part = "";
    for (int i = 1; i < count; ++i) {
        if (std::strcmp(arguments[i], "--long") == 0 && i + 1 < count) {
            long_seconds = std::atof(arguments[++i]);
        } else {
            part = arguments[i];
        }
    }
    for (const Test& test : tests()) {
        if (!std::strstr(test.name, part)) continue;
        std::fprintf(stderr, "%s\n", test.name);
        test.run();
    }
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace check

#define TEST(name)                                                 \
    static void name();                                            \
    static const check::Registered registered_##name{#name, name}; \
    static void name()
// Ends the test where it cannot be run, and says so.
#define SKIP_UNLESS(condition, reason)                   \
    do {                                                 \
        if (!(condition)) return check::skipped(reason); \
    } while (false)
#define CHECK(condition) \
    ((condition) ? void() : check::fail(__FILE__, __LINE__, "not true: " #condition))
#define CHECK_EQUAL(a, b) check::equal((a), (b), #a, __FILE__, __LINE__)

int main(int count, char** arguments) { return check::run(count, arguments); }
