/* The limit: one thread that does nothing but send() to N sockets.

   GET  /...   a stream: a head, a comment, then everything that is posted
   POST /...   the body is a block; what came in one read goes out in one send
   HEAD /      an answer, so that the harness knows that we are here

   No parsing beyond that, no history, no buffers: a client that does not read loses bytes. */

#define _GNU_SOURCE /* accept4 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 100000
#define SIZE (1 << 20)

static int clients[MOST], count;
static int place[MOST]; /* where a descriptor is in `clients`, plus one */
static char in[SIZE + 1], out[SIZE + 64];

static void answer(int fd, const char *text) {
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) perror("send");
}

static void leave(int fd) {
    int at = place[fd] - 1;
    if (at >= 0) {
        clients[at] = clients[--count];
        place[clients[at]] = at + 1;
        place[fd] = 0;
    }
    close(fd);
}

static void publish(const char *body, size_t length) {
    int head = sprintf(out, "%zx\r\n", length);
    memcpy(out + head, body, length);
    memcpy(out + head + length, "\r\n", 2);
    for (int i = 0; i < count; i++)
        send(clients[i], out, head + length + 2, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void posts(int fd, char *at) {
    static char together[SIZE];
    size_t length = 0;
    while (strncmp(at, "POST ", 5) == 0) {
        char *size = strstr(at, "Content-Length: "), *body = strstr(at, "\r\n\r\n");
        if (!size || !body) break;
        size_t bytes = strtoul(size + 16, NULL, 10);
        if (body + 4 + bytes > in + SIZE) break;
        memcpy(together + length, body + 4, bytes);
        length += bytes;
        at = body + 4 + bytes;
        answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    publish(together, length);
}

static void request(int fd) {
    ssize_t length = recv(fd, in, SIZE, 0);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN) leave(fd);
        return;
    }
    in[length] = 0;
    if (strncmp(in, "POST ", 5) == 0) posts(fd, in);
    else if (strncmp(in, "HEAD ", 5) == 0) answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    else if (strncmp(in, "GET ", 4) == 0 && !place[fd]) {
        answer(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n4\r\n:hi\n\r\n");
        clients[count] = fd;
        place[fd] = ++count;
    }
}

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[argc - 1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("listen");
        return 1;
    }
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[1024];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int found = epoll_wait(epoll, ready, 1024, -1);
        for (int i = 0; i < found; i++) {
            int fd = ready[i].data.fd;
            if (fd != listener) {
                request(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MOST) { close(fd); continue; }
                event.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
