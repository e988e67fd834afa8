//go:build !race && !asan

package slub_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// A process whose only large user is Malloc gets ErrNoMemory in a container of 128 MiB, and is not
// killed. The test makes a memory cgroup where it may. It is not built with a sanitizer, which
// needs memory, too.
func TestMallocInASmallContainer(t *testing.T) {
	if os.Getenv("SLUBD_TEST_CONTAINER") != "" {
		fillContainer(t)
		return
	}
	group := smallGroup(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `echo $$ > "$0"/cgroup.procs && exec "$@"`, group, exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "SLUBD_TEST_CONTAINER=1", "GOMEMLIMIT=off")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("in the container: %v\n%s", err, out)
	}
}

// fillContainer allocates and touches memory until there is none.
func fillContainer(t *testing.T) {
	bytes := 0
	for i := 0; ; i++ {
		n := []int{100, 3000, 20_000, 100_000}[i%4]
		p, err := slub.Malloc(n)
		if errors.Is(err, slub.ErrNoMemory) {
			fmt.Println("ErrNoMemory after", bytes>>20, "MiB")
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		mem.Zero(uintptr(p), uintptr(n))
		if bytes += n; bytes > 128<<20 {
			t.Fatal("more than the container has")
		}
	}
	if bytes < 48<<20 {
		t.Errorf("no memory after %d MiB of 128", bytes>>20)
	}
}

// smallGroup makes a memory cgroup of 128 MiB below the process's own, of version 1 or 2.
func smallGroup(t *testing.T) (dir string) {
	t.Helper()
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	reasons := []error{errors.New("no group could be made")}
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		if f[1] == "" {
			root, file = "/sys/fs/cgroup", "memory.max"
		} else if f[1] != "memory" {
			continue
		}
		dir := filepath.Join(root, f[2], "slubd-test-"+strconv.Itoa(os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			reasons = append(reasons, err)
			continue
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		if err := os.WriteFile(filepath.Join(dir, file), []byte("134217728"), 0o644); err != nil {
			reasons = append(reasons, err)
			continue
		}
		return dir
	}
	testutil.NeedHost(t, "a memory cgroup below its own", "cgroup-tools", errors.Join(reasons...))
	return ""
}
