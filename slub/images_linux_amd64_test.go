//go:build cgo && !race && !asan && !invariants

package slub_test

import (
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

const (
	byLibc  = "engine rseq, threads registered by libc (legacy)\n"
	bySlubd = "engine rseq, threads registered by slubd (legacy)\n"
)

// buildImage builds testdata/images, and returns the file.
func buildImage(t *testing.T, args []string, env ...string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "image")
	cmd := exec.Command("go", append(append([]string{"build", "-o", exe}, args...), "./testdata/images")...)
	cmd.Env = append(cmd.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// printed fails unless the command succeeds and prints that.
func printed(t *testing.T, what string, cmd *exec.Cmd, want string) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
		t.Errorf("%s: %v, %q, want %q", what, err, out, want)
	}
}

// needRseq skips the test where this process has another engine, as other programs would. With
// SLUBD_REQUIRE=1 the test fails instead, unless the other engine was asked for.
func needRseq(t *testing.T) {
	t.Helper()
	if name, reason := slub.Engine(); name != "rseq" {
		if os.Getenv("SLUBD_ENGINE") != "" {
			t.Skip(reason)
		}
		testutil.NeedHost(t, "rseq(2)", "linux-image-amd64", errors.New(reason))
	}
}

// needImages also skips the test outside of rows of their own, since building programs takes long.
func needImages(t *testing.T) {
	t.Helper()
	testutil.NeedLong(t)
	needRseq(t)
}

// copyInto copies the file to the same path below root.
func copyInto(t *testing.T, root, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(copied), 0o755), os.WriteFile(copied, text, 0o755)); err != nil {
		t.Fatal(err)
	}
}

// loadedWith returns the files that an ELF program is loaded with, as its loader finds them on this
// host: the loader and C libraries. A static program has none.
func loadedWith(t *testing.T, exe string) (files []string) {
	t.Helper()
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i := slices.IndexFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	if i < 0 {
		return nil
	}
	name, err := io.ReadAll(f.Progs[i].Open())
	if err != nil {
		t.Fatal(err)
	}
	loader := strings.TrimRight(string(name), "\x00")
	list, err := exec.Command(loader, "--list", exe).Output()
	if err != nil {
		t.Fatalf("%s --list %s: %v\n%s", loader, exe, err, list)
	}
	files = []string{loader}
	for _, word := range strings.Fields(string(list)) {
		if filepath.IsAbs(word) && !slices.Contains(files, word) {
			files = append(files, word)
		}
	}
	return files
}

// TestImages: a program that is linked with each C library, dynamically and as one file, uses
// sequences, whether libc registers its threads or not. So it does in a root file system in which
// there is nothing else: no /proc, no /sys, and of libc what the program loads, as in distroless
// images (glibc) and those of Alpine (musl).
func TestImages(t *testing.T) {
	needImages(t)
	const static = "-ldflags=-linkmode=external -extldflags=-static"
	for name, c := range map[string]struct {
		cc, aptPackage string
		args           []string
		want           string
	}{
		"glibc":        {"gcc", "gcc", nil, byLibc},
		"static glibc": {"gcc", "gcc", []string{static}, byLibc},
		"musl":         {"musl-gcc", "musl-tools", nil, bySlubd},
		"static musl":  {"musl-gcc", "musl-tools", []string{static}, bySlubd},
	} {
		t.Run(name, func(t *testing.T) {
			exe := buildImage(t, c.args, "CC="+testutil.Need(t, c.cc, c.aptPackage))
			printed(t, "alone", exec.Command(exe), c.want)
			cmd := exec.Command(exe)
			cmd.Env = append(cmd.Environ(), "SLUBD_ENGINE=trylock")
			printed(t, "by the variable", cmd, "engine trylock: SLUBD_ENGINE=trylock\n")
			files := loadedWith(t, exe)
			if dynamic := c.args == nil; (len(files) > 0) != dynamic {
				t.Errorf("it is loaded with %q", files)
			}
			for _, path := range files {
				copyInto(t, filepath.Dir(exe), path)
			}
			cmd = exec.Command("/image")
			cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: filepath.Dir(exe)}
			printed(t, "in a root file system of its own", cmd, c.want)
		})
	}
}

// TestImageInGVisor runs a program in a kernel that has neither rseq nor these commands of
// membarrier.
func TestImageInGVisor(t *testing.T) {
	needImages(t)
	runsc := testutil.Need(t, "runsc", "runsc")
	exe := buildImage(t, []string{"-ldflags=-linkmode=external -extldflags=-static"})
	out, err := exec.Command(runsc, "--rootless", "--network=none", "--ignore-cgroups", "--platform=ptrace", "do", exe).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "engine trylock: ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// loader is a C program that loads libraries, and has threads of its own use all of them.
const loader = `
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef char *storm(int);
static storm *storms[8];
static int loaded;

static void *work(void *arg) {
	for (int i = 0; i < 2 * loaded; i++) {
		char *err = storms[i % loaded](200);
		if (err)
			return err;
	}
	return arg;
}

int main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		void *lib = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
		if (!lib) {
			puts(dlerror());
			return 3;
		}
		storms[loaded++] = (storm *)dlsym(lib, "slubd_storm");
		puts(((char *(*)(void))dlsym(lib, "slubd_engine"))());
	}
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	for (int i = 0; i < 4; i++) {
		void *err;
		pthread_join(threads[i], &err);
		if (err)
			puts(err);
	}
	return 0;
}
`

// compileC compiles C code, with more arguments for the compiler, and returns the program.
func compileC(t *testing.T, code string, args ...string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command(testutil.Need(t, "gcc", "gcc"), append([]string{"-o", exe, "-xc", "-", "-xnone"}, args...)...)
	cmd.Stdin = strings.NewReader(code)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// TestImageAsLibrary: a C program loads a library with slubd, and another copy of it. Both use
// sequences in the same threads, whether libc registers these or the copy that a thread comes to
// first does. Neither loses an object. Each needs a few bytes of the static thread-local storage
// that a process has left; where that is used up, the loader says so.
func TestImageAsLibrary(t *testing.T) {
	needImages(t)
	library := buildImage(t, []string{"-buildmode=c-shared"})
	text, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(t.TempDir(), "second")
	if err := os.WriteFile(second, text, 0o755); err != nil {
		t.Fatal(err)
	}
	load := compileC(t, loader, "-pthread", "-ldl")
	for want, tunables := range map[string]string{byLibc: "glibc.pthread.rseq=1", bySlubd: "glibc.pthread.rseq=0"} {
		for _, surplus := range []string{"512", "0"} {
			cmd := exec.Command(load, library, second)
			cmd.Env = append(cmd.Environ(), "GLIBC_TUNABLES="+tunables+":glibc.rtld.optional_static_tls="+surplus)
			printed(t, tunables+", "+surplus, cmd, want+want)
		}
	}
	archive := buildImage(t, []string{"-buildmode=c-archive"})
	const program = `
#include <stdio.h>
char *slubd_engine(void), *slubd_storm(int);
int main(void) {
	puts(slubd_engine());
	char *err = slubd_storm(2000);
	if (err)
		puts(err);
	return err != NULL;
}
`
	printed(t, "c-archive", exec.Command(compileC(t, program, archive, "-pthread")), byLibc)
}
