/* The daemon of every peer: it notes the time of its first instructions and its pid in a shared file, then waits.
 *
 * argv[1], or COUNTER in the environment where a supervisor passes no arguments of ours (runit, s6), names the file; bench/counter.py
 * has the layout. Every signal keeps its default action. Compiled without a C library where that is easy, so that the start
 * that is measured is the supervisor's and not the dynamic linker's.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

struct entry { uint64_t at_ns; uint32_t pid; uint32_t pad; };
struct page {
    uint32_t count;  /* starts so far */
    uint32_t target; /* whoever brings count to this wakes the one who waits */
    uint32_t capacity;
    uint32_t claimed; /* entries taken, complete or not */
    struct entry entries[];
};

#if defined(__x86_64__)
static long call(long n, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long out;
    __asm__ volatile("syscall" : "=a"(out) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return out;
}
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call begin\n");
#elif defined(__aarch64__)
static long call(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x0,sp\n bl begin\n");
#else
#error "no system call stub for this processor"
#endif

static int starts_with(const char *text, const char *prefix) {
    while (*prefix)
        if (*text++ != *prefix++) return 0;
    return 1;
}

__attribute__((used, noreturn)) void begin(long *stack) {
    struct timespec now;
    call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0, 0);
    long argc = stack[0];
    char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
    const char *path = argc > 1 && argv[1][0] == '/' ? argv[1] : 0; /* s6 passes the name of the service */
    for (; !path && *envp; envp++)
        if (starts_with(*envp, "COUNTER=")) path = *envp + 8;
    if (!path) call(SYS_exit_group, 2, 0, 0, 0, 0, 0);
    long fd = call(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
    if (fd < 0) call(SYS_exit_group, 3, 0, 0, 0, 0, 0);
    struct page head;
    call(SYS_read, fd, (long)&head, sizeof head, 0, 0, 0);
    long size = sizeof(struct page) + (long)head.capacity * sizeof(struct entry);
    struct page *page = (struct page *)call(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if ((long)page < 0 && (long)page > -4096) call(SYS_exit_group, 4, 0, 0, 0, 0, 0);
    call(SYS_close, fd, 0, 0, 0, 0, 0);
    /* The entry is claimed first and counted when it is complete, so that a reader of count sees whole entries. */
    uint32_t index = __atomic_fetch_add(&page->claimed, 1, __ATOMIC_ACQ_REL);
    if (index < page->capacity) {
        page->entries[index].pid = (uint32_t)call(SYS_getpid, 0, 0, 0, 0, 0, 0);
        page->entries[index].at_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    uint32_t done = __atomic_add_fetch(&page->count, 1, __ATOMIC_ACQ_REL);
    if (done == __atomic_load_n(&page->target, __ATOMIC_ACQUIRE))
        call(SYS_futex, (long)&page->count, FUTEX_WAKE, 1, 0, 0, 0);
    call(SYS_munmap, (long)page, size, 0, 0, 0, 0);
    for (;;) call(SYS_ppoll, 0, 0, 0, 0, 0, 0);
}
