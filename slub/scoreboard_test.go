package slub

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// The scoreboard runs programs with one mistake each, every one in a process of its own, and says
// what each mode makes of it. The programs are those of mimalloc-bench's folder security, of
// hardened_malloc's folder test, and the cases of the kernel's slub_kunit, by their names, written
// from a description of what each does. docs/scoreboard.md has the results, and the test compares
// each of them. With SLUBD_SCOREBOARD=write in the environment it writes those of its build.
//
// A program ends as one in Go should: it frees what it holds, and closes what it has opened. What
// it does to its memory it does by address, since Go checks the index of a slice itself.

// A program is one mistake, or none where the original has none.
type program struct {
	name string
	// absent says why there is no such program in Go.
	absent string
	run    func(g *board) outcome
}

// An outcome is what became of a program, in the word of the table.
type outcome string

const (
	missed  outcome = "-"     // the mistake had its effect, or could have had it
	fine    outcome = "fine"  // there was no mistake, or it could do no harm
	asError outcome = "error" // a call has returned a typed error
	absent  outcome = "n/a"
)

// stopping are the outcomes of a process that has ended, by what it prints.
var stopping = []struct {
	out  outcome
	exit int
	line string
}{
	{"asan", 1, `ERROR: AddressSanitizer: `},
	{"guard", 2, `BUG: slubd guard: `},
	{"guard", 2, `panic: slubd: .*: memory corruption`},
	{"double", 2, `panic: slubd: .*: double free`},
	{"pointer", 2, `panic: slubd: .*: (foreign|misaligned) pointer`},
	{"pointer", 2, `panic: slubd: .*: pointer of another cache`},
	{"link", 2, `panic: slubd: .*: corrupt freelist`},
	{"written", 2, `panic: slubd: .*: write after free`},
	{"redzone", 2, `panic: slubd: .*: (red zone|padding) overwritten`},
	{"fault", 2, `unexpected fault address 0x`},
	{"checkptr", 2, `fatal error: checkptr: `},
}

// A board is what a program works with.
type board struct {
	t *testing.T
	a *arena.Arena
	b *Buckets
	// closing are the Close methods of what the program has opened.
	closing []func() error
}

// A mode is how a process runs.
type mode struct {
	name string
	env  []string
}

// modesOf returns the modes that this build can show.
func modesOf(t *testing.T) []mode {
	switch {
	case sanitized && hidesBytes:
		return []mode{{"asan", []string{"SLUBD_DEBUG=" + boardDebug}}}
	case sanitized:
		return []mode{{name: "race"}}
	case invariants.Enabled:
		return []mode{{name: "invariants"}}
	}
	// The environment of the test may harden, too.
	modes := []mode{{"release", []string{"SLUBD_HARDENED="}}, {"hardened", []string{"SLUBD_HARDENED=1"}},
		{"debug", []string{"SLUBD_HARDENED=", "SLUBD_DEBUG=" + boardDebug}}}
	if guardsPossible {
		modes = append(modes, mode{"guards", []string{"SLUBD_HARDENED=", "SLUBD_GUARD=1"}})
	} else {
		t.Log("this build has no guards")
	}
	return modes
}

// boardDebug is SLUBD_DEBUG of the modes debug and asan.
const boardDebug = "FZPUQ"

const boardProgram = "SLUBD_TEST_PROGRAM"

func TestScoreboard(t *testing.T) {
	programs := slices.Concat(mimallocPrograms(), hardenedPrograms(), kunitPrograms())
	slices.SortFunc(programs, func(a, b program) int { return strings.Compare(a.name, b.name) })
	if name := os.Getenv(boardProgram); name != "" {
		for _, p := range programs {
			if p.name == name {
				p.child(t)
			}
		}
		return
	}
	table := readScores(t, programs)
	for _, m := range modesOf(t) {
		got := map[string]outcome{}
		var mu sync.Mutex
		var all sync.WaitGroup
		turns := make(chan bool, 2) // that many processes at once
		for i, p := range programs {
			if p.absent == "" && testing.Short() && i%12 != 0 {
				continue
			}
			all.Go(func() {
				turns <- true
				defer func() { <-turns }()
				out := p.outcome(t, m)
				mu.Lock()
				got[p.name] = out
				mu.Unlock()
			})
		}
		all.Wait()
		table.compare(t, m.name, got)
	}
	table.finish(t)
}

// outcome runs a program in a process of its own, and judges how that ends.
func (p program) outcome(t *testing.T, m mode) outcome {
	if p.absent != "" {
		return absent
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.count=1")
	cmd.Env = append(append(os.Environ(), boardProgram+"="+p.name, "SLUBD_GUARD=off", "SLUBD_PROFILE_RATE=0"), m.env...)
	text, err := cmd.CombinedOutput()
	exit, _ := err.(*exec.ExitError)
	if exit != nil {
		for _, s := range stopping {
			if exit.ExitCode() == s.exit && regexp.MustCompile(`(?m)`+s.line).Match(text) {
				return s.out
			}
		}
	}
	if found := saysOutcome.FindSubmatch(text); exit == nil && found != nil {
		return outcome(found[1])
	}
	t.Errorf("%s, %s: %v\n%s", p.name, m.name, err, text)
	return "broken"
}

var saysOutcome = regexp.MustCompile(`(?m)^outcome (\S+)$`)

// child runs the program, and says what became of it if the process lives.
func (p program) child(t *testing.T) {
	a, err := arena.New(ofOneNode(t, arena.Config{Span: 64 * mib}))
	same(t, "arena.New", err, nil)
	b, err := NewBuckets(a, BucketsConfig{Name: "victim"})
	same(t, "NewBuckets", err, nil)
	g := &board{t: t, a: a, b: b, closing: []func() error{b.Close}}
	ended := make(chan outcome)
	go func() { // a panic on the test's own goroutine would be wrapped
		runtime.LockOSThread()
		if restore, err := sys.Pin([]int{percpu.CPU()}); err == nil {
			defer restore()
		}
		out := p.run(g)
		for _, close := range g.closing {
			out = g.closed(close(), out)
		}
		ended <- out
	}()
	fmt.Printf("outcome %s\n", <-ended)
	os.Exit(0)
}

// closed returns the outcome of a program whose outcome was out before Close returned an error.
func (g *board) closed(err error, out outcome) outcome {
	var r *hooks.Report
	switch {
	case err == nil || out != fine && out != missed:
		return out // it was found before
	case errors.As(err, &r):
		return outcome(map[hooks.Kind]outcome{hooks.DoubleFree: "double", hooks.WriteAfterFree: "written", hooks.FreelistCorrupt: "link",
			hooks.RedZoneOverwritten: "redzone", hooks.PaddingOverwritten: "redzone"}[r.Kind])
	}
	return asError
}

// cache opens a cache that is closed at the program's end.
func (g *board) cache(cfg Config) *Cache {
	c, err := New(g.a, cfg)
	same(g.t, "New", err, nil)
	g.closing = append(g.closing, c.Close)
	return c
}

// malloc allocates n bytes.
func (g *board) malloc(n int) unsafe.Pointer { return malloc(g.t, g.b, n) }

// inner returns an object that is neither at the beginning nor at the end of its slab, from those
// that alloc returns. It frees the others.
func inner(alloc func() unsafe.Pointer, cacheOf func(unsafe.Pointer) *Cache) unsafe.Pointer {
	for {
		p := alloc()
		c := cacheOf(p)
		if c.isAlone(p) {
			return p
		}
		off, slot := uintptr(p)-slabOf(c, p), c.layout.slot
		if off >= 2*slot && off+3*slot <= mem.PageSize<<c.slabs.Order() {
			return p
		}
		defer c.Free(p)
	}
}

// one returns n bytes between objects that are free.
func (g *board) one(n int) unsafe.Pointer {
	return inner(func() unsafe.Pointer { return g.malloc(n) }, g.b.cacheOf)
}

// oneOf is one for an object of a cache.
func (g *board) oneOf(c *Cache) unsafe.Pointer {
	return inner(func() unsafe.Pointer { return take(g.t, c, 1)[0] }, func(unsafe.Pointer) *Cache { return c })
}

// byteAt is the byte off bytes behind p.
func byteAt(p unsafe.Pointer, off int) *byte { return mem.At[byte](uintptr(p) + uintptr(off)) }

// set writes n bytes at p.
func set(p unsafe.Pointer, n int, to byte) {
	b := mem.Bytes(uintptr(p), uintptr(n))
	for i := range b {
		b[i] = to
	}
}

// shows reports whether one of the n bytes at p is b.
func shows(p unsafe.Pointer, n int, b byte) bool {
	for _, c := range mem.Bytes(uintptr(p), uintptr(n)) {
		if c == b {
			return true
		}
	}
	return false
}

// fineIf is fine if the program has met its condition.
func fineIf(ok bool) outcome {
	if ok {
		return fine
	}
	return missed
}
