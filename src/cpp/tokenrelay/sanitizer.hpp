// Which sanitizer looks at this code, in the words of GCC and of Clang.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define TOKENRELAY_SANITIZE_THREAD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TOKENRELAY_SANITIZE_THREAD 1
#endif
#endif

#if !defined(TOKENRELAY_SANITIZE_THREAD)
#define TOKENRELAY_SANITIZE_THREAD 0
#endif
