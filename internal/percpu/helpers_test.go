package percpu

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// needRseq is for tests that need sequences. err is what newRseq or newSequences has returned. If
// it is not nil the test is skipped. With SLUBD_REQUIRE=1 the test fails instead, unless
// doesWithoutRseq: a test of sequences must not be skipped because they broke.
func needRseq(t testing.TB, err error) {
	t.Helper()
	if doesWithoutRseq(err) {
		t.Skip(err)
	}
	testutil.NeedHost(t, "rseq(2)", "linux-image-amd64", err)
}

// doesWithoutRseq reports whether err says that the build has no sequences at all, or SLUBD_ENGINE
// asks for the other engine. A kernel without rseq is what SLUBD_REQUIRE=1 forbids.
func doesWithoutRseq(err error) bool {
	var errno syscall.Errno // of the kernel: its ENOSYS matches ErrUnsupported, too
	return os.Getenv("SLUBD_ENGINE") == "trylock" || errors.Is(err, errors.ErrUnsupported) && !errors.As(err, &errno)
}

func TestDoesWithoutRseq(t *testing.T) {
	kernel := fmt.Errorf("rseq: %w", syscall.ENOSYS)
	for _, c := range []struct {
		err    error
		engine string
		want   bool
	}{
		{sys.ErrUnsupported, "", true},
		{fmt.Errorf("rseq: %w", errors.ErrUnsupported), "rseq", true},
		{kernel, "", false},
		{kernel, "rseq", false},
		{kernel, "trylock", true},
		{fmt.Errorf("rseq: %w", syscall.EPERM), "", false},
		{errors.New("struct rseq shows CPU -2 of 2"), "", false},
		{errors.New("struct rseq shows CPU -2 of 2"), "trylock", true},
	} {
		t.Setenv("SLUBD_ENGINE", c.engine)
		if got := doesWithoutRseq(c.err); got != c.want {
			t.Errorf("%v, SLUBD_ENGINE=%q: %v", c.err, c.engine, got)
		}
	}
}

// eachEngine runs a test under every engine that works here. With SLUBD_REQUIRE=1 sequences must
// work, as needRseq says.
func eachEngine(t *testing.T, test func(t *testing.T)) {
	engines := []engine{newTrylock()}
	if e, err := newRseq(); err == nil {
		stack := e
		stack.name = "rseq-abi0"
		engines = append(engines, withRegisters(e), stack)
	} else if !doesWithoutRseq(err) && os.Getenv("SLUBD_REQUIRE") == "1" {
		t.Errorf("without rseq: %v", err)
	} else {
		t.Logf("without rseq: %v", err)
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			before := current
			current = e
			defer func() { current = before }()
			test(t)
		})
	}
}

const testOwn = 0x1234

// arrays makes slots in which every CPU's stack k has an array with room for limit objects.
func arrays(t *testing.T, k Kind, limit int) Slots {
	t.Helper()
	slots, err := NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	for cpu := range NumCPU() {
		slots.unpublished(cpu, k).Install(offHeap(t, uintptr(limit)*8), 0, limit, testOwn)
	}
	return slots
}

func offHeap(t *testing.T, n uintptr) uintptr {
	t.Helper()
	addr, err := Reserve(n)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Objects are recognisable addresses without memory, 64 bytes apart, in a range of testPages.
const (
	testBase  = 0x7000_0000_0000
	testPages = 4096
)

func object(i int) unsafe.Pointer { return mem.Ptr(uintptr(testBase + i*64)) }

func index(p unsafe.Pointer) int { return int(uintptr(p)-testBase) / 64 }

// filter returns a Filter that finds the owner word own for every object.
func filter(s Slots, k Kind, own owner.Word) Filter {
	owners := make([]owner.Word, testPages)
	for i := range owners {
		owners[i] = own
	}
	return NewFilter(testBase, testPages, unsafe.Pointer(&owners[0]), 64, 64, 0).ForStacks(s, k)
}

func newPop(s Slots, k Kind, slow PopFunc) PopFunc {
	p := new(Pop)
	p.Init(s, k, slow)
	return p.Func()
}

func newFree(f Filter, slow FreeFunc) FreeFunc {
	p := new(Free)
	p.Init(f, slow)
	return p.Func()
}

// noPop and noFree are slow paths that do nothing.
func noPop() (unsafe.Pointer, error) { return nil, nil }
func noFree(unsafe.Pointer)          {}

// total sums all CPUs' snapshots.
func total(s Slots, k Kind) (c Counts) {
	for cpu := range NumCPU() {
		n := s.Snapshot(cpu, k)
		c.Size += n.Size
		c.Pushes += n.Pushes
		c.Pops += n.Pops
	}
	return c
}
