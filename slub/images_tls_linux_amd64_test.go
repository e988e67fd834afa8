//go:build cgo && !race && !asan && !invariants

package slub_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fillerCode is a library that takes 64 bytes of the static thread-local storage that a process has
// left for libraries that come late.
const fillerCode = `
static __thread char bytes[64] __attribute__((aligned(64), tls_model("initial-exec")));
char *filler(void) { return bytes; }
`

// crowdedCode is a C program that loads as many fillers as its first argument says, or until one is
// refused, and then a library. If that is refused it says why, unloads the last fillers and tries
// again; then it uses the library in threads of its own.
const crowdedCode = `
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static char *(*storm)(int);

static void *work(void *arg) { return storm(200); }

int main(int argc, char **argv) {
	void *fillers[256], *lib;
	int most = atoi(argv[1]), n = 0;
	while (n < most && n < argc - 3 && (fillers[n] = dlopen(argv[3 + n], RTLD_NOW | RTLD_LOCAL)))
		n++;
	if (n < most)
		printf("%d fillers: %s\n", n, dlerror());
	while (!(lib = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL))) {
		printf("the library beside %d: %s\n", n, dlerror());
		if (!n)
			return 3;
		dlclose(fillers[--n]);
	}
	printf("the library beside %d: ", n);
	puts(((char *(*)(void))dlsym(lib, "slubd_engine"))());
	storm = (char *(*)(int))dlsym(lib, "slubd_storm");
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

// TestImageWithoutStaticTLS: where other libraries have used up the static thread-local storage
// that a process keeps for late ones, loading a library with slubd fails with an error that says
// so, and nothing crashes. As soon as there is room for its 72 bytes, which are aligned to 64, it
// loads and works, in the same process or in another.
func TestImageWithoutStaticTLS(t *testing.T) {
	needImages(t)
	library := buildImage(t, []string{"-buildmode=c-shared"})
	text, err := os.ReadFile(compileC(t, fillerCode, "-shared", "-fPIC"))
	if err != nil {
		t.Fatal(err)
	}
	dir, fillers := t.TempDir(), []string(nil)
	for i := range 128 { // a loader loads a file once
		fillers = append(fillers, filepath.Join(dir, fmt.Sprintf("filler%d", i)))
		if err := os.WriteFile(fillers[i], text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := compileC(t, crowdedCode, "-pthread", "-ldl")
	load := func(most int) []string {
		t.Helper()
		cmd := exec.Command(program, append([]string{fmt.Sprint(most), library}, fillers...)...)
		cmd.Env = append(cmd.Environ(), "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=512")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	}
	const refused = "cannot allocate memory in static TLS block"
	lines := load(len(fillers))
	var full, fit int
	if _, err := fmt.Sscanf(lines[0], "%d fillers:", &full); err != nil || !strings.HasSuffix(lines[0], refused) || full < 4 {
		t.Fatalf("the storage was not used up: %q", lines)
	}
	last := len(lines) - 1
	for _, line := range lines[1:last] {
		if !strings.HasPrefix(line, "the library beside ") || !strings.HasSuffix(line, refused) {
			t.Errorf("%s", line)
		}
	}
	if _, err := fmt.Sscanf(lines[last], "the library beside %d:", &fit); err != nil || fit >= full || fit < full-3 {
		t.Errorf("not loaded beside %d fillers or a few less: %q", full, lines)
	}
	want := fmt.Sprintf("the library beside %d: %s", fit, strings.TrimSpace(byLibc))
	if lines[last] != want {
		t.Errorf("%s, want %s", lines[last], want)
	}
	if lines := load(fit); len(lines) != 1 || lines[0] != want {
		t.Errorf("another process with as many: %q, want %s", lines, want)
	}
}
