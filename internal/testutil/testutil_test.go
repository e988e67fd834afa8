package testutil

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
)

// fakeTB records how a helper ends a test. Its Fatalf and Skipf panic to return; the real ones end
// the goroutine.
type fakeTB struct {
	testing.TB
	ended string
}

func (f *fakeTB) Helper()               {}
func (f *fakeTB) Fatalf(string, ...any) { f.end("failed") }
func (f *fakeTB) Skipf(string, ...any)  { f.end("skipped") }
func (f *fakeTB) end(how string)        { f.ended = how; panic(f) }

func ended(t *testing.T, call func(testing.TB)) (how string) {
	f := &fakeTB{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(f) {
			panic(r)
		}
		how = f.ended
	}()
	call(f)
	return ""
}

func TestNeed(t *testing.T) {
	missing := func(t testing.TB) { Need(t, "no-such-program", "no-such-package") }
	t.Setenv("SLUBD_REQUIRE", "")
	if how := ended(t, missing); how != "skipped" {
		t.Errorf("without a program the test %s", how)
	}
	t.Setenv("SLUBD_REQUIRE", "1")
	if how := ended(t, missing); how != "failed" {
		t.Errorf("without a required program the test %s", how)
	}
	if path := Need(t, "go", "golang-go"); !strings.HasSuffix(path, "/go") {
		t.Errorf("go is at %q", path)
	}
}

func TestNeedHost(t *testing.T) {
	refused := func(t testing.TB) { NeedHost(t, "a mount", "util-linux", errors.New("refused")) }
	t.Setenv("SLUBD_REQUIRE", "")
	if how := ended(t, refused); how != "skipped" {
		t.Errorf("where the host refuses the test %s", how)
	}
	t.Setenv("SLUBD_REQUIRE", "1")
	if how := ended(t, refused); how != "failed" {
		t.Errorf("where the host refuses what is required the test %s", how)
	}
	NeedHost(t, "a mount", "util-linux", nil)
}

func TestGoAllocs(t *testing.T) {
	calls := 0
	var kept []byte
	n := GoAllocs(5, func() { calls++; kept = make([]byte, 100) })
	want, times := 1.0, 3
	if checksPointers() {
		want, times = 0, 1
	}
	if calls != 6*times || n != want || len(kept) != 100 {
		t.Errorf("%v allocations in each of %d calls", n, calls)
	}
}

// TestChild: the test passes or fails as the other process does.
func TestChild(t *testing.T) {
	if !Child(t) {
		return
	}
	if os.Getenv(child) != t.Name() {
		t.Error("the test goes on in the process that started the other one")
	}
}

func TestStress(t *testing.T) {
	t.Setenv("SLUBD_STRESS_OPS", "7")
	if n := Stress(t, 100); n != 7 {
		t.Errorf("%d operations instead of 7", n)
	}
	for _, bad := range []string{"0", "-1", "many"} {
		t.Setenv("SLUBD_STRESS_OPS", bad)
		if how := ended(t, func(t testing.TB) { Stress(t, 100) }); how != "failed" {
			t.Errorf("SLUBD_STRESS_OPS=%s was taken", bad)
		}
	}
	t.Setenv("SLUBD_STRESS_OPS", "")
	want := 100
	if Instrumented {
		want = 25
	}
	if n := Stress(t, 100); n != want && !testing.Short() {
		t.Errorf("%d operations by default", n)
	}
	if n := Stress(t, 1); n != 1 {
		t.Errorf("%d operations of 1", n)
	}
}

func TestSeed(t *testing.T) {
	t.Setenv("SLUBD_SEED", "0x12")
	if s := Seed(t); s != 0x12 {
		t.Errorf("seed %#x instead of 0x12", s)
	}
	t.Setenv("SLUBD_SEED", "x")
	if how := ended(t, func(t testing.TB) { Seed(t) }); how != "failed" {
		t.Error("SLUBD_SEED=x was taken")
	}
	t.Setenv("SLUBD_SEED", "")
	if a, b := Seed(t), Seed(t); a == b {
		t.Errorf("two seeds are both %#x", a)
	}
}

func TestRerun(t *testing.T) {
	t.Run("a (sub) test", func(t *testing.T) {
		out, isChild, err := Rerun(t, "SLUBD_GREETING=hello")
		if isChild {
			fmt.Println(os.Getenv("SLUBD_GREETING"))
			os.Exit(3)
		}
		exit, ok := err.(*exec.ExitError)
		if !ok || exit.ExitCode() != 3 || !strings.Contains(out, "hello") {
			t.Errorf("child ended with %v, printing %s", err, out)
		}
	})
}

func TestSysFS(t *testing.T) {
	tree := SysFS(
		SysNode{ID: 0, CPUs: []int{0, 1}, Offline: []int{2}, Memory: 8 << 20},
		SysNode{ID: 3, Memory: 4 << 20, Distance: []int{17, 10}},
	)
	for file, want := range map[string]string{
		"node/online":         "0,3\n",
		"node/has_cpu":        "0\n",
		"node/has_memory":     "0,3\n",
		"cpu/online":          "0-1\n",
		"cpu/possible":        "0-2\n",
		"node/node0/distance": "10 20\n",
		"node/node3/distance": "17 10\n",
		"node/node3/cpulist":  "\n",
	} {
		got, err := fs.ReadFile(tree, "devices/system/"+file)
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", file, got, err, want)
		}
	}
	if err := fstest.TestFS(tree, "devices/system/node/node0/cpu2", "devices/system/node/node3/meminfo"); err != nil {
		t.Error(err)
	}
}

func TestBytesOf(t *testing.T) {
	for line, want := range map[string]int{
		"7f1c bind:1 anon=300 dirty=300 N0=100 N12=200 kernelpagesize_kB=4": 300 * 4096,
		"7f1d default huge anon=2 N1=2 kernelpagesize_kB=2048":              2 * 2048 << 10,
		"7f1e default file=/bin/sh":                                         0,
	} {
		if got := bytesOf(line); got != want {
			t.Errorf("%s: %d bytes, want %d", line, got, want)
		}
	}
}
