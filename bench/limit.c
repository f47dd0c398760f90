/* The limit: the least a supervisor can do. N children by vfork and exec, a pidfd each in one epoll, waitid, start again at once.
 *
 *   limit N PROGRAM ARGUMENT
 *
 * SIGTERM or SIGINT: TERM to every child, wait until all are gone, exit 0. No restart policy, no logs, no control, no checks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH 256
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

struct child { pid_t pid; int fd; };

static int poller, stopping;
static volatile int exec_error; /* vfork shares memory: the child says here why it could not exec */
static char **command;
static sigset_t inherited;

static void start(struct child *child, uint64_t index) {
    pid_t pid = vfork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &inherited, NULL);
        execve(command[0], command, (char *[]){NULL});
        exec_error = errno;
        _exit(127);
    }
    if (pid < 0) { perror("limit: vfork"); exit(1); }
    if (exec_error) { fprintf(stderr, "limit: cannot exec %s: errno %d\n", command[0], exec_error); exit(1); }
    child->pid = pid;
    child->fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};
    if (child->fd < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, child->fd, &event) < 0) { perror("limit: pidfd"); exit(1); }
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "usage: limit N PROGRAM ARGUMENT\n"); return 2; }
    uint64_t n = strtoull(argv[1], NULL, 10), left = n;
    command = argv + 2;
    struct child *children = calloc(n, sizeof *children);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, &inherited);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = n}, events[BATCH];
    if (!children || epoll_ctl(poller, EPOLL_CTL_ADD, signals, &event) < 0) { perror("limit"); return 1; }
    for (uint64_t i = 0; i < n; i++) start(children + i, i);
    while (left > 0) {
        int ready = epoll_wait(poller, events, BATCH, -1);
        if (ready < 0 && errno != EINTR) { perror("limit: epoll_wait"); return 1; }
        for (int i = 0; i < ready; i++) {
            uint64_t index = events[i].data.u64;
            if (index == n) {
                struct signalfd_siginfo info;
                if (read(signals, &info, sizeof info) == (ssize_t)sizeof info && !stopping) {
                    stopping = 1;
                    for (uint64_t k = 0; k < n; k++)
                        if (children[k].fd >= 0) syscall(SYS_pidfd_send_signal, children[k].fd, SIGTERM, NULL, 0);
                }
                continue;
            }
            siginfo_t info;
            info.si_pid = 0;
            if (waitid(P_PIDFD, (id_t)children[index].fd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0) continue;
            epoll_ctl(poller, EPOLL_CTL_DEL, children[index].fd, NULL);
            close(children[index].fd);
            children[index].fd = -1;
            if (stopping) left--;
            else start(children + index, index);
        }
    }
    return 0;
}
