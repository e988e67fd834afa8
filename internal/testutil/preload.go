package testutil

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Preload compiles C code as a library, and returns the environment in which the dynamic linker
// takes functions and variables from it before any other library: what Rerun and Child add to a
// process's environment. In such a process it returns nil at once.
func Preload(t testing.TB, code string) (env []string) {
	t.Helper()
	if name := os.Getenv(child); name == t.Name() || strings.HasPrefix(name, t.Name()+"/") {
		return nil
	}
	library := filepath.Join(t.TempDir(), "preload.so")
	cmd := exec.Command(Need(t, "gcc", "gcc"), "-shared", "-fPIC", "-o", library, "-xc", "-")
	cmd.Stdin = strings.NewReader(code)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return []string{"LD_PRELOAD=" + library, "ASAN_OPTIONS=verify_asan_link_order=0"}
}

// FakeAuxv is code for Preload. It has getauxval tell the numbers of two environment variables,
// SLUBD_TEST_RSEQ_SIZE and SLUBD_TEST_RSEQ_ALIGN, as AT_RSEQ_FEATURE_SIZE and AT_RSEQ_ALIGN.
const FakeAuxv = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

unsigned long getauxval(unsigned long type) {
	unsigned long (*real)(unsigned long) = (unsigned long (*)(unsigned long))dlsym(RTLD_NEXT, "getauxval");
	const char *name = type == 27 ? "SLUBD_TEST_RSEQ_SIZE" : type == 28 ? "SLUBD_TEST_RSEQ_ALIGN" : NULL;
	const char *value = name ? getenv(name) : NULL;
	return value ? strtoul(value, NULL, 10) : real(type);
}
`

// OwnArea is the environment in which slubd registers threads for rseq, with a length as for those
// two numbers. preload is what Preload returned for FakeAuxv.
func OwnArea(preload []string, size, align string) []string {
	return append([]string{"GLIBC_TUNABLES=glibc.pthread.rseq=0", "SLUBD_TEST_RSEQ_SIZE=" + size,
		"SLUBD_TEST_RSEQ_ALIGN=" + align}, preload...)
}
