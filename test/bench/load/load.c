/* load: what a program does with a CPU, a disk or a connection, counted inside of it.
 *
 *	load cpu MS		rounds of arithmetic
 *	load disk MS FILE	bytes written, each 256 KiB of them waited for
 *	load tcp MS ADDRESS PORT	bytes sent to a sink
 *	load sink PORT		takes them, until it is killed; prints a line when it can
 *
 * prints how many a second on stderr. test/bench compares contain's with limit's.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char block[128 << 10];

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static struct sockaddr_in peer(const char *address, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	inet_pton(AF_INET, address, &a.sin_addr);
	return a;
}

static int sink(const char *port)
{
	struct sockaddr_in a = peer("0.0.0.0", port);
	int s = socket(AF_INET, SOCK_STREAM, 0), c;
	if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 8) < 0)
		return fail("sink");
	puts("ready");
	fflush(stdout);
	while ((c = accept(s, NULL, NULL)) >= 0) {
		while (recv(c, block, sizeof block, 0) > 0)
			;
		close(c);
	}
	return fail("accept");
}

static uint64_t arithmetic(uint64_t x)
{
	for (int i = 0; i < 100000; i++)
		x = (x ^ x >> 29) * 0x9e3779b97f4a7c15 + (uint64_t)i;
	return x;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "sink") == 0)
		return sink(argv[2]);
	if (argc < 3)
		return 2;
	int cpu = strcmp(argv[1], "cpu") == 0, fd = -1;
	if (argc == 4) {
		fd = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0600);
	} else if (argc == 5) {
		struct sockaddr_in a = peer(argv[3], argv[4]);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
			return fail("connect");
	}
	if (!cpu && fd < 0)
		return fail(argv[1]);
	double begin = now(), end = begin + atof(argv[2]) / 1000, done = 0;
	volatile uint64_t x = 1; /* for the compiler to have it computed */
	while (now() < end) {
		if (cpu) {
			x = arithmetic(x);
			done++;
			continue;
		}
		for (int i = 0; i < 2; i++) {
			ssize_t n = write(fd, block, sizeof block);
			if (n < 0)
				return fail("write");
			done += (double)n;
		}
		if (argc == 4 && (fdatasync(fd) < 0 || lseek(fd, 0, SEEK_SET) < 0))
			return fail("fdatasync");
	}
	fprintf(stderr, "%.3f\n", done / (now() - begin));
	return 0;
}
