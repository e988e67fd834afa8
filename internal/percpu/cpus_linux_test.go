package percpu

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// TestBoundOfNumbers: a list of possible CPUs that lacks one which is known to be there is not
// believed.
func TestBoundOfNumbers(t *testing.T) {
	for _, c := range []struct{ possible, counted, kernel, want int }{
		{possible: 8, counted: 2, kernel: 64, want: 8},
		{possible: 8, counted: 8, kernel: 64, want: 8},
		{possible: 1, counted: 2, kernel: 64, want: 64},
		{possible: 0, counted: 2, kernel: 64, want: 64},
		{possible: 0, counted: 2, kernel: 0, want: 2},
		{possible: 4, counted: 300, kernel: 512, want: 512},
	} {
		if got := bound(c.possible, c.counted, c.kernel); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	for mask, want := range map[[2]uint64]int{{}: 0, {1}: 1, {6}: 3, {0, 1}: 65, {1, 1 << 63}: 128} {
		if got := highest(mask[:]); got != want {
			t.Errorf("mask %x: %d, want %d", mask, got, want)
		}
	}
}

// TestEngineUnderFalseLists: the engine is the same whatever sysfs shows, and whichever CPU the
// process is bound to.
func TestEngineUnderFalseLists(t *testing.T) {
	if want := os.Getenv("SLUBD_TEST_ENGINE"); want != "" {
		if got := Engine() + " " + Reason(); got != want {
			t.Errorf("engine %q, want %q", got, want)
		}
		onCPU := runningOn()
		if onCPU >= NumCPU() || CountedCPUs() > NumCPU() {
			t.Errorf("on CPU %d, %d numbers, %d CPUs counted", onCPU, NumCPU(), CountedCPUs())
		}
		slots, err := NewSlots()
		if err != nil {
			t.Fatal(err)
		}
		if st, cpu := slots.TryLock(Main); st == nil || cpu >= NumCPU() {
			t.Errorf("no lock on CPU %d", cpu)
		}
		return
	}
	last := highest(allowed()) - 1
	for _, possible := range []string{"0", "0-2047", ""} {
		file := t.TempDir() + "/possible"
		if err := os.WriteFile(file, []byte(possible+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		const script = `mount --bind "$0" /sys/devices/system/cpu/possible && exec "$@"`
		run := func(args ...string) (string, error) {
			cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, file}, args...)...)
			cmd.Env = append(os.Environ(), "SLUBD_TEST_ENGINE="+Engine()+" "+Reason())
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		if out, err := run("true"); err != nil {
			testutil.NeedHost(t, "a mount namespace", "util-linux", fmt.Errorf("%w: %s", err, out))
		}
		for _, cpu := range []int{0, last} {
			out, err := run("taskset", "-c", fmt.Sprint(cpu), os.Args[0], "-test.run=^"+t.Name()+"$")
			if err != nil && !strings.Contains(out, "failed to set") {
				t.Errorf("possible CPUs %q, on CPU %d: %v\n%s", possible, cpu, err, out)
			}
		}
	}
	if _, _, err := sys.CPU(); err != nil {
		t.Error(err)
	}
}

// TestNUMARowsLieOnTheirNode: a CPU's row lies where a page lies that the CPU touches first: on its
// node, or on the nearest one if that has no memory.
func TestNUMARowsLieOnTheirNode(t *testing.T) {
	slots := Slots{cells(t, 1)[0]}
	mask := allowed()
	for cpu := range highest(mask) {
		if mask[cpu/64]>>(cpu%64)&1 == 0 {
			continue
		}
		func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			restore, err := sys.Pin([]int{cpu})
			testutil.NeedHost(t, "CPU affinity", "util-linux", err)
			defer func() { _ = restore() }()
			st, at := slots.TryLock(Main)
			if st == nil {
				t.Fatalf("CPU %d's stack is held", cpu)
			}
			st.Unlock()
			touched := offHeap(t, mem.PageSize)
			*mem.At[uint64](touched) = 1
			if runningOn() != at {
				return // the kernel has overruled the affinity
			}
			status := []int32{-1, -1}
			err = sys.NodesOf([]uintptr{slots.base + uintptr(at)<<rowShift, touched}, status)
			testutil.NeedHost(t, "move_pages(2)", "a kernel with NUMA", err)
			if status[0] != status[1] {
				t.Errorf("CPU %d touches pages on node %d, its row is on node %d", at, status[1], status[0])
			}
		}()
	}
}
