/* TOKENRELAY_API marks what the shared library exports; all else stays inside it. Only the build of
 * the shared library itself sets TOKENRELAY_EXPORTS: a program that uses it defines nothing. */
#ifndef TOKENRELAY_EXPORT_H
#define TOKENRELAY_EXPORT_H

#ifndef __linux__
#error "tokenrelay needs Linux (epoll, SO_PEERCRED): docs/platforms.md says why"
#endif

#ifdef TOKENRELAY_EXPORTS
#define TOKENRELAY_API __attribute__((visibility("default")))
#else
#define TOKENRELAY_API
#endif

#endif
