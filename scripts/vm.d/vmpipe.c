// vmpipe: carries one command's output, exit code and signals between a guest and its host.
//
//   vmpipe guest PORT DIR            PID 1 of the guest: runs the command described by DIR, speaks over PORT
//   vmpipe host OPTIONS -- CMD...    starts CMD (QEMU) with one end of a socket pair as file descriptor 3
//
// Everything travels as frames over ONE virtio-serial port, so the exit code arrives after the last byte of
// output by construction.  (Separate ports for stdout and stderr were rejected: the guest cannot tell when
// QEMU has passed on what it wrote, so a power-off loses the end of large outputs.)
//
// DIR holds: argv, env (NUL-terminated strings), cwd (one path), sync (NUL-terminated mount points that are
// flushed before the exit code is sent), and, for an interactive command only, an empty file named pty.
// Statically linked, so that the same binary runs on the host and as the guest's first process.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { payload_max = 32 * 1024, header_size = 5, qemu_fd = 3 };

enum frame_type {
    frame_stdout = 'O',
    frame_stderr = 'E',
    frame_started = 'S',
    frame_exit = 'X',
    frame_input = 'I',
    frame_window = 'W',
    frame_signal = 'K',
};

struct frame {
    uint8_t type;
    uint32_t size;
    uint8_t payload[payload_max];
};

struct frame_reader {
    uint8_t header[header_size];
    uint32_t filled;
    struct frame frame;
};

static volatile sig_atomic_t signal_seen;
static volatile sig_atomic_t window_changed;
static double hard_deadline = 1e18; // set once, before the timer that compares it starts

static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("vmpipe: ", stderr);
    vfprintf(stderr, format, args);
    fprintf(stderr, ": %s\n", strerror(errno));
    va_end(args);
    exit(70);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// Writes all bytes; gives up only on an error or, on the host, when a signal asks for the end.
static bool write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t written = write(fd, at, size);
        if (written >= 0) {
            at += written;
            size -= (size_t)written;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 100);
        } else if (errno != EINTR) {
            return false;
        }
        if (signal_seen && size > 0)
            return false;
    }
    return true;
}

static bool send_frame(int fd, uint8_t type, const void *payload, uint32_t size)
{
    static uint8_t buffer[header_size + payload_max];
    buffer[0] = type;
    memcpy(buffer + 1, &size, sizeof size);
    memcpy(buffer + header_size, payload, size);
    return write_all(fd, buffer, header_size + size);
}

// Reads what is there. 1: a whole frame is in reader->frame; 0: not yet; -1: the other side is gone.
static int read_frame(int fd, struct frame_reader *reader)
{
    uint8_t *target = reader->filled < header_size ? reader->header + reader->filled
                                                   : reader->frame.payload + (reader->filled - header_size);
    uint32_t total = reader->filled < header_size ? header_size : header_size + reader->frame.size;
    ssize_t count = read(fd, target, total - reader->filled);
    if (count == 0)
        return -1;
    if (count < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -1;
    reader->filled += (uint32_t)count;
    if (reader->filled == header_size) {
        reader->frame.type = reader->header[0];
        memcpy(&reader->frame.size, reader->header + 1, sizeof reader->frame.size);
        if (reader->frame.size > payload_max)
            return -1;
        total = header_size + reader->frame.size;
    }
    if (reader->filled < header_size || reader->filled < total)
        return 0;
    reader->filled = 0;
    return 1;
}

// ---- guest ---------------------------------------------------------------------------------------------

struct command {
    pid_t pid;
    int output[2]; // stdout and stderr pipes, or the pty's master side and -1
    bool exited;
    int32_t exit_code;
};

static char *read_file(const char *dir, const char *name, size_t *size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0)
        fail("%s", path);
    char *text = calloc(1, (size_t)info.st_size + 1);
    size_t done = 0;
    while (text && done < (size_t)info.st_size) {
        ssize_t count = read(fd, text + done, (size_t)info.st_size - done);
        if (count <= 0)
            fail("%s", path);
        done += (size_t)count;
    }
    close(fd);
    *size = done;
    return text;
}

// Splits NUL-terminated strings; the result ends with a null pointer.
static char **read_strings(const char *dir, const char *name)
{
    size_t size, count = 0;
    char *text = read_file(dir, name, &size);
    for (size_t i = 0; i < size; i++)
        count += text[i] == '\0';
    char **strings = calloc(count + 1, sizeof *strings);
    for (size_t i = 0; strings && i < count; i++, text += strlen(text) + 1)
        strings[i] = text;
    return strings;
}

static void exec_command(const char *dir)
{
    size_t size;
    char **argv = read_strings(dir, "argv");
    char *cwd = read_file(dir, "cwd", &size);
    environ = read_strings(dir, "env");
    if (chdir(cwd) < 0 && chdir("/") < 0)
        fail("chdir /");
    char pwd[4200];
    if (getcwd(pwd, sizeof pwd))
        setenv("PWD", pwd, 1);
    execvp(argv[0], argv);
    fprintf(stderr, "vm: cannot run %s in the guest: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static struct command start_command(const char *dir, bool interactive)
{
    struct command command = {.output = {-1, -1}};
    int out[2] = {-1, -1}, err[2] = {-1, -1};
    if (interactive) {
        command.pid = forkpty(&command.output[0], NULL, NULL, NULL);
    } else {
        if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
            fail("pipe");
        command.pid = fork();
        command.output[0] = out[0];
        command.output[1] = err[0];
    }
    if (command.pid < 0)
        fail("fork");
    if (command.pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (!interactive) {
            setsid();
            dup2(open("/dev/null", O_RDONLY), 0);
            dup2(out[1], 1);
            dup2(err[1], 2);
        }
        exec_command(dir);
    }
    close(out[1]);
    close(err[1]);
    for (int i = 0; i < 2; i++)
        if (command.output[i] >= 0)
            fcntl(command.output[i], F_SETFL, O_NONBLOCK);
    return command;
}

static void reap(struct command *command)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != command->pid)
            continue;
        command->exited = true;
        command->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
}

// Forwards one chunk. False: nothing there now, or the end.
static bool forward_output(int port, struct command *command, int stream)
{
    static uint8_t chunk[payload_max];
    if (command->output[stream] < 0)
        return false;
    ssize_t count = read(command->output[stream], chunk, sizeof chunk);
    if (count > 0)
        return send_frame(port, stream == 0 ? frame_stdout : frame_stderr, chunk, (uint32_t)count);
    if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        close(command->output[stream]);
        command->output[stream] = -1;
    }
    return false;
}

static void obey(const struct frame *frame, const struct command *command)
{
    uint16_t size[2];
    switch (frame->type) {
    case frame_input:
        write_all(command->output[0], frame->payload, frame->size);
        break;
    case frame_window:
        memcpy(size, frame->payload, sizeof size);
        ioctl(command->output[0], TIOCSWINSZ, &(struct winsize){.ws_row = size[0], .ws_col = size[1]});
        break;
    case frame_signal:
        kill(-command->pid, frame->payload[0]);
        break;
    }
}

// A device that hangs must not hold back the exit code: the flush gets ten seconds.
static void flush_mounts(const char *dir)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (char **path = read_strings(dir, "sync"); *path; path++) {
            int fd = open(*path, O_RDONLY | O_DIRECTORY);
            if (fd >= 0)
                syncfs(fd);
        }
        _exit(0);
    }
    double deadline = seconds_now() + 10;
    while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0 && seconds_now() < deadline)
        usleep(1000);
}

// Its only purpose is to interrupt ppoll().
static void wake_up(int number)
{
    (void)number;
}

static int run_guest(const char *port_path, const char *dir)
{
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    signal(SIGCHLD, wake_up);
    signal(SIGPIPE, SIG_IGN);
    int port = open(port_path, O_RDWR | O_CLOEXEC);
    if (port < 0)
        fail("%s", port_path);
    char pty_mark[256];
    snprintf(pty_mark, sizeof pty_mark, "%s/pty", dir);
    struct command command;
    send_frame(port, frame_started, "", 0);
    command = start_command(dir, access(pty_mark, F_OK) == 0);
    static struct frame_reader reader;
    sigset_t none;
    sigemptyset(&none);
    while (!command.exited) {
        struct pollfd fds[3] = {{.fd = port, .events = POLLIN},
                                {.fd = command.output[0], .events = POLLIN},
                                {.fd = command.output[1], .events = POLLIN}};
        if (ppoll(fds, 3, NULL, &none) > 0) {
            for (int stream = 0; stream < 2; stream++)
                if (fds[1 + stream].revents)
                    forward_output(port, &command, stream);
            if ((fds[0].revents & POLLIN) && read_frame(port, &reader) == 1)
                obey(&reader.frame, &command);
        }
        reap(&command);
    }
    for (int stream = 0; stream < 2; stream++)
        while (forward_output(port, &command, stream)) {
        }
    flush_mounts(dir);
    send_frame(port, frame_exit, &command.exit_code, sizeof command.exit_code);
    sleep(10); // the host ends the machine as soon as it has the exit code
    reboot(RB_POWER_OFF);
    return 0;
}

// ---- host ----------------------------------------------------------------------------------------------

struct session {
    double boot_deadline;
    double deadline;
    double interrupt_deadline; // after a forwarded Ctrl-C
    const char *result_path;
    const char *log_path; // QEMU's own stdout and stderr
    bool interactive;
    bool started;
    pid_t child;
    int socket;
    struct termios saved;
    bool raw;
};

static void on_signal(int number)
{
    if (number == SIGWINCH)
        window_changed = 1;
    else if (number != SIGALRM || seconds_now() > hard_deadline)
        signal_seen = number;
}

static void write_result(const struct session *session, const char *verdict, int number)
{
    FILE *file = fopen(session->result_path, "w");
    if (!file)
        fail("%s", session->result_path);
    fprintf(file, "%s %d %s\n", verdict, number, session->started ? "started" : "booting");
    fclose(file);
}

static void send_window(const struct session *session)
{
    struct winsize size;
    if (ioctl(0, TIOCGWINSZ, &size) == 0)
        send_frame(session->socket, frame_window, (uint16_t[2]){size.ws_row, size.ws_col}, 4);
}

static void enter_raw_mode(struct session *session)
{
    if (!session->interactive || tcgetattr(0, &session->saved) < 0)
        return;
    struct termios raw = session->saved;
    cfmakeraw(&raw);
    session->raw = tcsetattr(0, TCSANOW, &raw) == 0;
}

static void start_machine(struct session *session, char **argv)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        fail("socketpair");
    session->socket = pair[0];
    session->child = fork();
    if (session->child < 0)
        fail("fork");
    if (session->child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid(); // a Ctrl-C on the terminal is for the command in the guest, not for QEMU
        if (dup2(pair[1], qemu_fd) < 0 || (pair[1] == qemu_fd && fcntl(qemu_fd, F_SETFD, 0) < 0))
            fail("dup2");
        int log = open(session->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        int null = open("/dev/null", O_RDONLY);
        if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
            fail("%s", session->log_path);
        execvp(argv[0], argv);
        fail("%s", argv[0]);
    }
    close(pair[1]);
}

// QEMU holds the other end of the socket, so the end of file proves that it is gone.
static void stop_machine(const struct session *session)
{
    static uint8_t rest[payload_max];
    kill(-session->child, SIGKILL);
    waitpid(session->child, NULL, 0);
    signal_seen = 0;
    while (read(session->socket, rest, sizeof rest) > 0 || errno == EINTR)
        errno = 0;
}

// True: the session is over, and its result is written.
static bool handle_frame(struct session *session, const struct frame *frame)
{
    int32_t code;
    switch (frame->type) {
    case frame_started:
        session->started = true;
        if (session->interactive)
            send_window(session);
        enter_raw_mode(session);
        return false;
    case frame_stdout:
    case frame_stderr:
        if (!write_all(frame->type == frame_stdout ? 1 : 2, frame->payload, frame->size) && errno == EPIPE) {
            write_result(session, "signal", SIGPIPE);
            return true;
        }
        return false;
    case frame_exit:
        memcpy(&code, frame->payload, sizeof code);
        write_result(session, session->interrupt_deadline > 0 ? "signal" : "exit",
                     session->interrupt_deadline > 0 ? SIGINT : code);
        return true;
    }
    return false;
}

static bool out_of_time(const struct session *session)
{
    double now = seconds_now();
    if (session->interrupt_deadline > 0 && now > session->interrupt_deadline)
        write_result(session, "signal", SIGINT);
    else if (!session->started && now > session->boot_deadline)
        write_result(session, "boot-timeout", 0);
    else if (now > session->deadline)
        write_result(session, "timeout", 0);
    else
        return false;
    return true;
}

// Ctrl-C goes to the command first, which may print what it has; the second one, or three seconds, end it.
static bool handle_signal(struct session *session)
{
    int number = signal_seen;
    if (number == SIGALRM)
        return out_of_time(session);
    if (number == SIGINT && session->started && session->interrupt_deadline == 0) {
        signal_seen = 0;
        session->interrupt_deadline = seconds_now() + 3;
        send_frame(session->socket, frame_signal, (uint8_t[1]){SIGINT}, 1);
        return false;
    }
    write_result(session, "signal", number);
    return true;
}

static bool forward_input(struct session *session)
{
    uint8_t chunk[1024];
    ssize_t count = read(0, chunk, sizeof chunk);
    if (count > 0)
        return send_frame(session->socket, frame_input, chunk, (uint32_t)count);
    if (count == 0 || errno != EINTR)
        session->interactive = false;
    return true;
}

static void serve(struct session *session)
{
    static struct frame_reader reader;
    for (;;) {
        if (signal_seen && handle_signal(session))
            return;
        if (out_of_time(session))
            return;
        if (window_changed && session->started) {
            window_changed = 0;
            send_window(session);
        }
        struct pollfd fds[2] = {{.fd = session->socket, .events = POLLIN},
                                {.fd = session->interactive && session->started ? 0 : -1, .events = POLLIN}};
        if (poll(fds, 2, 1000) <= 0)
            continue;
        if (fds[1].revents)
            forward_input(session);
        if (!fds[0].revents)
            continue;
        int got = read_frame(session->socket, &reader);
        if (got < 0) {
            write_result(session, "died", 0);
            return;
        }
        if (got > 0 && handle_frame(session, &reader.frame))
            return;
    }
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGWINCH};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    setitimer(ITIMER_REAL, &(struct itimerval){{1, 0}, {1, 0}}, NULL); // ends blocking writes for the deadlines
}

static int run_host(int argc, char **argv)
{
    struct session session = {.boot_deadline = 1e18, .deadline = 1e18};
    int option;
    while ((option = getopt(argc, argv, "+b:t:r:l:i")) != -1) {
        switch (option) {
        case 'b': session.boot_deadline = seconds_now() + atof(optarg); break;
        case 't': session.deadline = seconds_now() + atof(optarg); break;
        case 'r': session.result_path = optarg; break;
        case 'l': session.log_path = optarg; break;
        case 'i': session.interactive = true; break;
        default: return 64;
        }
    }
    if (optind >= argc || !session.result_path || !session.log_path)
        return 64;
    hard_deadline = session.deadline;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    catch_signals();
    start_machine(&session, argv + optind);
    serve(&session);
    if (session.raw)
        tcsetattr(0, TCSANOW, &session.saved);
    stop_machine(&session);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "guest") == 0)
        return run_guest(argv[2], argv[3]);
    if (argc > 2 && strcmp(argv[1], "host") == 0)
        return run_host(argc - 1, argv + 1);
    fputs("usage: vmpipe guest PORT DIR | vmpipe host -r RESULT -l LOG [-b BOOT_SECONDS] [-t SECONDS] [-i] -- CMD...\n", stderr);
    return 64;
}
