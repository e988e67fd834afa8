// Command guards is a program with C code beside Go's, for TestGuardsBesideC: the argument says what
// it does. In the end it reads a guarded object that was freed, and dies.
package main

/*
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

// A library with a page that becomes accessible when it is touched. It passes on other faults.
static char *volatile page; // stored before it is touched
static struct sigaction before;

static void on_fault(int sig, siginfo_t *info, void *context) {
	char *addr = info->si_addr;
	if (page && addr >= page && addr < page + 4096) {
		mprotect(page, 4096, PROT_READ | PROT_WRITE);
		return;
	}
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(sig, info, context);
	else
		signal(sig, SIG_DFL);
}

static void install(void) {
	struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	sigaction(SIGSEGV, &a, &before);
}

#ifdef EARLY
__attribute__((constructor)) static void early(void) { install(); }
#endif

static int touch(void) {
	page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	page[1] = 1;
	return page[1];
}

__attribute__((noinline)) static int peek_in_c(const char *p) { return *(const volatile char *)p; }
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

func main() {
	c, err := slub.New(nil, slub.Config{Name: "beside-c", Size: 64, GuardRate: 1})
	if err != nil {
		panic(err)
	}
	what := os.Args[1]
	if what == "library before" {
		C.install()
	}
	p, err := c.Alloc()
	if err != nil {
		panic(err)
	}
	c.Free(p)
	if what == "library after" {
		C.install()
	}
	if what != "C reads" && C.touch() != 1 {
		panic("the library's page can't be used")
	}
	nilPointer()
	fmt.Fprintln(os.Stderr, "all is well")
	if what == "C reads" {
		C.peek_in_c((*C.char)(p))
	}
	peek(p)
}

func nilPointer() {
	defer func() {
		if recover() == nil {
			panic("a nil pointer is no panic")
		}
	}()
	peek(nil)
}

//go:noinline
func peek(p unsafe.Pointer) byte { return *(*byte)(p) }
