/* What contain does about signals in C, see signals.c. */
#ifndef SIGNALS_H
#define SIGNALS_H

enum { NOTE_TO_GROUP = 0x80 };

/* The value of the SIGCONT by which stop_as resumes contain. */
#define RESUMED 0x64656d75

int note_signal(int sig, int fd);
void stop_as(int sig, int group, int report, int oom);

#endif
