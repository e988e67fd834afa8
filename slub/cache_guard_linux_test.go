//go:build linux && cgo && !race && !asan

package slub_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/internal/guard"
)

// everyGuarded is a GuardRate at which each allocation is picked, while the pool has room.
const everyGuarded = 1

//go:noinline
func allocGuarded(t testing.TB, c *slub.Cache) unsafe.Pointer {
	p, err := c.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

//go:noinline
func freeGuarded(c *slub.Cache, p unsafe.Pointer) { c.Free(p) }

// peek and poke are the accesses at fault.
//
//go:noinline
func peek(addr uintptr) byte { return *mem.At[byte](addr) }

//go:noinline
func poke(addr uintptr) { *mem.At[byte](addr) = 1 }

func isGuarded(p unsafe.Pointer) bool {
	s, ok := guard.Look(uintptr(p))
	return ok && !s.Beside && !s.Freed
}

// aligned returns a guarded object that begins with its page (left), or ends with it. The others
// that it gets meanwhile stay in use.
func aligned(t testing.TB, c *slub.Cache, left bool) unsafe.Pointer {
	for range 100 {
		p := allocGuarded(t, c)
		if !isGuarded(p) {
			t.Fatalf("the object at %p is not guarded: %+v", p, slub.ReadGuardStats())
		}
		if (uintptr(p)%mem.PageSize == 0) == left {
			return p
		}
	}
	t.Fatal("100 objects are aligned to the same side")
	return nil
}

// guardCases are programs with one error each, which die of it, as KFENCE's own tests have them.
// Checks before that call t.Fatal: what t.Error notes is lost when the program dies.
var guardCases = map[string]struct {
	cfg slub.Config
	run func(t *testing.T, c *slub.Cache)
	// says are patterns of consecutive parts of the output.
	says []string
}{
	"read right of the object": {run: func(t *testing.T, c *slub.Cache) { peek(uintptr(aligned(t, c, false)) + 64) },
		says: []string{`BUG: slubd guard: out-of-bounds read at 0x[0-9a-f]+, 1 byte right of the object\n`,
			`\nguarded object #\d+ at 0x[0-9a-f]+, 64 bytes, cache "guarded"\n`, `allocated on CPU \d+, \d+\.\d{3} s ago:\n  \S+slub_test\.allocGuarded\n      \S+cache_guard_linux_test\.go:\d+\n`,
			`accessed by thread \d+, whose stack the Go runtime prints next\n`, `fatal error: fault\n`, `slub_test\.peek\(`}},
	"write right of the object": {run: func(t *testing.T, c *slub.Cache) { poke(uintptr(aligned(t, c, false)) + 64 + 9) },
		says: []string{`out-of-bounds write at 0x[0-9a-f]+, 10 bytes right of the object\n`, `slub_test\.poke\(`}},
	"read left of the object": {run: func(t *testing.T, c *slub.Cache) { peek(uintptr(aligned(t, c, true)) - 1) },
		says: []string{`out-of-bounds read at 0x[0-9a-f]+, 1 byte left of the object\n`}},
	"write left of the object": {run: func(t *testing.T, c *slub.Cache) { poke(uintptr(aligned(t, c, true)) - 3) },
		says: []string{`out-of-bounds write at 0x[0-9a-f]+, 3 bytes left of the object\n`}},
	"read after Free": {run: func(t *testing.T, c *slub.Cache) {
		p := allocGuarded(t, c)
		freeGuarded(c, p)
		peek(uintptr(p) + 5)
	}, says: []string{`BUG: slubd guard: use-after-free read at 0x[0-9a-f]+, at byte 5 of the object\n`, `allocated on CPU`, `slub_test\.allocGuarded\n`,
		`freed on CPU \d+, \d+\.\d{3} s ago:\n  \S+slub_test\.freeGuarded\n`, `slub_test\.peek\(`}},
	"write after Free": {run: func(t *testing.T, c *slub.Cache) {
		p := allocGuarded(t, c)
		freeGuarded(c, p)
		poke(uintptr(p))
	}, says: []string{`use-after-free write at 0x[0-9a-f]+, at byte 0 of the object\n`, `slub_test\.poke\(`}},
	"read after FreeBulk": {run: func(t *testing.T, c *slub.Cache) {
		objs := make([]unsafe.Pointer, 8)
		if err := c.AllocBulk(objs); err != nil {
			t.Fatal(err)
		}
		p := objs[3]
		if !isGuarded(p) {
			t.Fatal("an object of AllocBulk is not guarded")
		}
		c.FreeBulk(objs)
		peek(uintptr(p))
	}, says: []string{`use-after-free read`}},
	"read after a grace period": {run: func(t *testing.T, c *slub.Cache) {
		p := allocGuarded(t, c)
		section := c.Domain().Enter()
		c.FreeRCU(p)
		peek(uintptr(p)) // a reader may
		section.Exit()
		if err := c.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
		t.Log("the grace period is over")
		peek(uintptr(p))
	}, says: []string{`the grace period is over`, `use-after-free read`, `freed on CPU`, `slub_test\.init\.func`}},
	"read after FreeDeferred": {run: func(t *testing.T, c *slub.Cache) {
		p := allocGuarded(t, c)
		c.FreeDeferred(p)
		if err := c.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
		peek(uintptr(p))
	}, says: []string{`use-after-free read`}},
	"double free": {run: func(t *testing.T, c *slub.Cache) {
		p := allocGuarded(t, c)
		freeGuarded(c, p)
		freeGuarded(c, p)
	}, says: []string{`slubd: cache "guarded": double free at 0x[0-9a-f]+: guarded object #\d+ is free\n`, `slub_test\.freeGuarded\n`, `guarded object #\d+ at`, `allocated on CPU`,
		`slub_test\.allocGuarded\n`, `freed on CPU`, `slub_test\.freeGuarded\n`, `panic: .*double free`}},
	"double free by Buckets": {run: func(t *testing.T, c *slub.Cache) {
		b, err := slub.NewBuckets(c.Arena(), slub.BucketsConfig{Name: "values", GuardRate: everyGuarded})
		if err != nil {
			t.Fatal(err)
		}
		s, err := b.Bytes(100)
		if err != nil || cap(s) != 112 || !isGuarded(unsafe.Pointer(&s[0])) {
			t.Fatalf("%d bytes: %v", cap(s), err)
		}
		_ = append(s, make([]byte, 12)...) // all the room is the caller's
		b.FreeBytes(s)
		b.FreeBytes(s)
	}, says: []string{`buckets.*double free at|double free at`, `cache "values-112"`}},
	"free of another pointer": {run: func(t *testing.T, c *slub.Cache) { freeGuarded(c, unsafe.Add(aligned(t, c, false), 8)) },
		says: []string{`misaligned pointer at 0x[0-9a-f]+ .*: 8 bytes into the object of 64 at`, `guarded object #\d+ at`, `allocated on CPU`}},
	"corruption right of the object": {run: func(t *testing.T, c *slub.Cache) {
		p := aligned(t, c, true)
		poke(uintptr(p) + 64 + 6)
		freeGuarded(c, p)
	}, says: []string{`memory corruption at 0x[0-9a-f]+ .*: 1 byte was written beside the object of 64, the first at 0x[0-9a-f]+, 7 right of the object, which reads 0x01`,
		`allocated on CPU`, `freed on CPU`, `panic: .*memory corruption`}},
	"corruption left of the object": {run: func(t *testing.T, c *slub.Cache) {
		p := aligned(t, c, false)
		poke(uintptr(p) - 2)
		freeGuarded(c, p)
	}, says: []string{`memory corruption at .*, 2 left of the object, which reads 0x01`}},
	"corruption behind an odd size": {cfg: slub.Config{Size: 61}, run: func(t *testing.T, c *slub.Cache) {
		p := aligned(t, c, false)
		poke(uintptr(p) + 61)
		freeGuarded(c, p)
	}, says: []string{`memory corruption at .* the object of 61, .*, 1 right of the object`}},
	"with SetPanicOnFault": {run: func(t *testing.T, c *slub.Cache) {
		debug.SetPanicOnFault(true)
		p := allocGuarded(t, c)
		freeGuarded(c, p)
		func() {
			defer func() {
				fault, ok := recover().(interface{ Addr() uintptr })
				if !ok || fault.Addr() != uintptr(p)+1 {
					t.Fatal("no panic with the address")
				}
			}()
			peek(uintptr(p) + 1)
		}()
		if got := slub.ReadGuardStats().Reports; got != 1 {
			t.Fatalf("%d reports, want 1", got)
		}
		t.Log("it goes on")
		debug.SetPanicOnFault(false)
		peek(uintptr(p) + 2)
	}, says: []string{`at byte 1 of the object`, `it goes on`, `at byte 2 of the object`, `fatal error: fault`}},
	"beside nil pointers": {run: func(t *testing.T, c *slub.Cache) {
		p := allocGuarded(t, c)
		freeGuarded(c, p)
		func() {
			defer func() {
				if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "nil pointer dereference") {
					t.Fatal("a nil pointer is no panic")
				}
			}()
			peek(0)
		}()
		t.Log("it goes on")
		peek(uintptr(p))
	}, says: []string{`it goes on`, `use-after-free read`}},
	"beside os/signal": {run: func(t *testing.T, c *slub.Cache) {
		p := allocGuarded(t, c)
		freeGuarded(c, p)
		notices := make(chan os.Signal, 1)
		signal.Notify(notices, syscall.SIGSEGV)
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGSEGV); err != nil {
			t.Fatal(err)
		}
		<-notices
		signal.Reset(syscall.SIGSEGV)
		signal.Ignore(syscall.SIGSEGV)
		t.Log("it goes on")
		peek(uintptr(p))
	}, says: []string{`it goes on`, `use-after-free read`, `fatal error: fault`}},
	"behind the whole pool": {run: func(t *testing.T, c *slub.Cache) {
		p := uintptr(allocGuarded(t, c)) &^ (mem.PageSize - 1)
		for {
			if _, ok := guard.Look(p + mem.PageSize); !ok {
				break
			}
			p += mem.PageSize
		}
		peek(p)
	}, says: []string{`wild read at 0x[0-9a-f]+, where there never was an object`}},
	"fault elsewhere": {run: func(t *testing.T, c *slub.Cache) {
		freeGuarded(c, allocGuarded(t, c))
		peek(1 << 40)
	}, says: []string{`unexpected fault address 0x10000000000\n`, `fatal error: fault`}},
}

// Each error dies with the report, whose lines come in this order, and with Go's exit status.
func TestGuardReports(t *testing.T) {
	withoutSamples(t) // a sampled object is not guarded
	for name, c := range guardCases {
		t.Run(name, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t, "SLUBD_GUARD=off", "GOTRACEBACK=single")
			if isChild {
				c.cfg.Name, c.cfg.Domain, c.cfg.GuardRate = "guarded", new(rcu.Domain), everyGuarded
				if c.cfg.Size == 0 {
					c.cfg.Size = 64
				}
				c.run(t, newCache(t, c.cfg))
				t.Error("the program goes on")
				return
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 {
				t.Errorf("the process ends with %v, want exit status 2", err)
			}
			rest := out
			for _, says := range c.says {
				at := regexp.MustCompile(says).FindStringIndex(rest)
				if at == nil {
					t.Fatalf("%q is not in the rest of the output:\n%s", says, out)
				}
				rest = rest[at[1]:]
			}
			if name == "fault elsewhere" && strings.Contains(out, "slubd guard") {
				t.Errorf("a fault elsewhere is reported:\n%s", out)
			}
		})
	}
}

// A Report hook gets what Free finds, with the object's history, and the program goes on.
func TestGuardReportHook(t *testing.T) {
	withoutSamples(t) // a sampled object is not guarded
	var reports []*hooks.Report
	a := newArena(t, largeArena)
	c := open(t, a, slub.Config{Name: "hooked", Size: 40, GuardRate: everyGuarded,
		Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	before := slub.ReadGuardStats().Reports
	p := aligned(t, c, true)
	poke(uintptr(p) + 40)
	c.Free(p)
	c.Free(p)
	c.Free(unsafe.Add(p, 1))
	kinds := []hooks.Kind{hooks.MemoryCorrupt, hooks.DoubleFree, hooks.MisalignedPointer}
	if len(reports) != len(kinds) {
		t.Fatalf("%d reports, want %d", len(reports), len(kinds))
	}
	for i, r := range reports {
		if r.Kind != kinds[i] || !strings.Contains(r.History, "slub_test.allocGuarded") || !strings.Contains(r.History, "freed on CPU") {
			t.Errorf("report %d is %v, with the history\n%s", i, r, r.History)
		}
	}
	if got := slub.ReadGuardStats().Reports - before; got != int64(len(kinds)) {
		t.Errorf("%d reports are counted, want %d", got, len(kinds))
	}
	freeLive(c)
}

// freeLive frees all objects of a cache, for tests that have lost track of some.
func freeLive(c *slub.Cache) {
	for o := range c.Live() {
		c.Free(mem.Ptr(o.Addr))
	}
}
