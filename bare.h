/*
 * System calls without a library, for code that has none: pid1.c, and asleep.c while it has
 * given its memory back. Such a file defines HERE, its functions' place, as a section of its
 * own, BARE("name"). They may not refer to anything outside of that: no constants in .rodata (no string literals, no jump tables, no
 * vectorised copies), no calls of library functions, also not by the compiler. A test
 * looks (TestBareCodeRefersToNothing).
 */
#ifndef BARE_H
#define BARE_H

#include <asm/unistd.h>

#define BARE(name) __attribute__((section(name), used, noinline, no_stack_protector))
#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
INLINE long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
/* The kernel enters with an aligned stack, C functions expect a return address on it. */
#define ENTRY __attribute__((force_align_arg_pointer))
#elif defined(__aarch64__)
INLINE long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#define ENTRY
#else
#error "contain is written for amd64 and arm64"
#endif

#define sys(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* clear zeroes a structure of whole words. */
INLINE void clear(void *words, unsigned long bytes)
{
	for (unsigned long i = 0; i < bytes / sizeof(long); i++)
		((volatile long *)words)[i] = 0; /* volatile: or it becomes a memset */
}

#endif
