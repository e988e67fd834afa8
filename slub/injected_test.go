package slub

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// A misuse is a mistake of a program that uses the package. It is made in a process of its own,
// whose output and exit status are looked at.
type misuse struct {
	name string
	size int                   // of the object in bytes
	make func(v *victim) error // on a goroutine of its own; an error says that it could not be made
	// want is the first line of the report, with OBJECT for the object's address. Where it begins
	// with use-after-poison the address sanitizer reports an access: by its kind, at an offset from
	// the object.
	want string
}

// A victim is what a misuse is made to.
type victim struct {
	p     unsafe.Pointer
	cache *Cache
	// buckets are where p came from, if it did not come from a cache of its own.
	buckets *Buckets
	local   *Local
	lent    *Prefilled
}

const injectedCase = "SLUBD_TEST_MISUSE"

// inject makes each misuse in a process of its own, which must die with the report that is wanted.
// env ("NAME=value") is added to its environment.
func inject(t *testing.T, cases []misuse, env ...string) {
	if name := os.Getenv(injectedCase); name != "" {
		for _, m := range cases {
			if m.name == name {
				m.run(t)
			}
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	self := "^" + regexp.QuoteMeta(t.Name()) + "$"
	var both sync.WaitGroup
	turns := make(chan bool, 2) // that many processes at once
	for _, m := range cases {
		both.Add(1)
		go func() {
			defer both.Done()
			turns <- true
			defer func() { <-turns }()
			cmd := exec.Command(exe, "-test.run="+self, "-test.count=1")
			cmd.Env = append(append(os.Environ(), injectedCase+"="+m.name), env...)
			out, err := cmd.CombinedOutput()
			m.judge(t, string(out), err)
		}()
	}
	both.Wait()
}

var objectLine = regexp.MustCompile(`(?m)^object (0x[0-9a-f]+)$`)

// judge compares the output of a process and how it ended with what is wanted.
func (m misuse) judge(t *testing.T, out string, err error) {
	objects := objectLine.FindAllStringSubmatch(out, -1)
	exit, _ := err.(*exec.ExitError)
	if objects == nil || exit == nil {
		t.Errorf("%s: %v\n%s", m.name, err, out)
		return
	}
	object := objects[len(objects)-1][1]
	if access, ok := strings.CutPrefix(m.want, "use-after-poison OBJECT"); ok {
		m.judgeAccess(t, out, object, access, exit.ExitCode())
		return
	}
	want := strings.ReplaceAll(m.want, "OBJECT", object)
	if exit.ExitCode() != 2 || !strings.Contains(out, "\npanic: "+want+"\n") {
		t.Errorf("%s: exit status %d, want 2 and the line\npanic: %s\nin:\n%s", m.name, exit.ExitCode(), want, out)
	}
	if sanitized && strings.Contains(want, "before") && !strings.Contains(out, "freed before by:\n") {
		t.Errorf("%s: without the stack of the first free:\n%s", m.name, out)
	}
}

// judgeAccess is judge for an access that the address sanitizer reports: "+3 READ".
func (m misuse) judgeAccess(t *testing.T, out, object, access string, exit int) {
	var off int
	var how string
	var addr uintptr
	if _, err := fmt.Sscanf(access, "%d %s", &off, &how); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(object, "0x%x", &addr); err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("ERROR: AddressSanitizer: use-after-poison on address 0x%x at pc ", addr+uintptr(off))
	if exit != 1 || !strings.Contains(out, line) || !strings.Contains(out, fmt.Sprintf("\n%s of size 1 at 0x%x ", how, addr+uintptr(off))) {
		t.Errorf("%s: exit status %d, want 1 and\n%s\nin:\n%s", m.name, exit, line, out)
	}
}

// run makes the misuse. It returns if that has no consequence.
func (m misuse) run(t *testing.T) {
	withoutSamples(t) // their reports are others
	v := &victim{}
	a, err := arena.New(ofOneNode(t, arena.Config{Span: 32 * mib}))
	same(t, "arena.New", err, nil)
	domain := new(rcu.Domain)
	reader := domain.Register("the grace period does not end")
	defer runtime.KeepAlive(reader)
	if strings.Contains(m.name, "Buckets") {
		v.buckets, err = NewBuckets(a, BucketsConfig{Name: "victim", Domain: domain})
		same(t, "NewBuckets", err, nil)
		v.p = malloc(t, v.buckets, m.size)
	} else {
		v.cache, err = New(a, Config{Name: "victim", Size: int64(m.size), Domain: domain})
		same(t, "New", err, nil)
		v.local, err = v.cache.NewLocal(0)
		same(t, "NewLocal", err, nil)
		v.lent = prefill(t, v.cache, 1)
		v.lent.Alloc() // makes room
		v.p = take(t, v.cache, 1)[0]
	}
	fmt.Printf("object %#x\n", uintptr(v.p))
	failed := make(chan error)
	go func() { // a panic on the test's own goroutine would be wrapped
		runtime.LockOSThread()
		// On another CPU an allocation may not get what was freed here.
		if restore, err := sys.Pin([]int{percpu.CPU()}); err == nil {
			defer restore()
		}
		failed <- m.make(v)
	}()
	t.Errorf("%s: not found (%v)", m.name, <-failed)
}

// A releasing is a way to end the use of an object.
type releasing struct {
	free func(v *victim)
	says string // of a second free, after this one
}

const (
	saysFreed    = "it has been freed before"
	saysRCU      = "it was given to FreeRCU before"
	saysDeferred = "it was given to FreeDeferred before"
)

// cacheWays are the ways to free an object of a cache.
var cacheWays = map[string]releasing{
	"Free":         {func(v *victim) { v.cache.Free(v.p) }, saysFreed},
	"FreeBulk":     {func(v *victim) { v.cache.FreeBulk([]unsafe.Pointer{v.p}) }, saysFreed},
	"FreeRCU":      {func(v *victim) { v.cache.FreeRCU(v.p) }, saysRCU},
	"NoWait":       {func(v *victim) { v.cache.FreeRCUNoWait(v.p) }, saysRCU},
	"FreeDeferred": {func(v *victim) { v.cache.FreeDeferred(v.p) }, saysDeferred},
	"Local":        {func(v *victim) { v.local.Free(v.p) }, saysFreed},
	"Prefilled": {func(v *victim) {
		if !v.lent.Free(v.p) {
			v.cache.Free(v.p)
		}
	}, saysFreed},
	"remote": {func(v *victim) {
		done := make(chan any)
		go func() {
			defer func() { done <- recover() }()
			runtime.LockOSThread()
			v.cache.Free(v.p)
		}()
		if r := <-done; r != nil {
			panic(r)
		}
	}, saysFreed},
}

// bucketsWays are the ways to free an object of Buckets.
var bucketsWays = map[string]releasing{
	"Free":         {func(v *victim) { v.buckets.Free(v.p) }, saysFreed},
	"FreeBulk":     {func(v *victim) { v.buckets.FreeBulk([]unsafe.Pointer{v.p}) }, saysFreed},
	"FreeRCU":      {func(v *victim) { v.buckets.FreeRCU(v.p) }, saysRCU},
	"FreeDeferred": {func(v *victim) { v.buckets.FreeDeferred(v.p) }, saysDeferred},
	"FreeBytes":    {func(v *victim) { v.buckets.FreeBytes(unsafe.Slice((*byte)(v.p), 1)) }, saysFreed},
}

// doubleFrees are all second frees of an object: in every way after every other, and of every size
// in the same way, back to back, and with other traffic of the cache between the two.
func doubleFrees() (cases []misuse) {
	add := func(name string, size int, first, second releasing, between func(v *victim)) {
		line := fmt.Sprintf(`slubd: cache "victim": double free at OBJECT: %s`, first.says)
		cases = append(cases, misuse{name, size, func(v *victim) error {
			first.free(v)
			between(v)
			second.free(v)
			return nil
		}, line})
	}
	nothing := func(*victim) {}
	for one, first := range cacheWays {
		for other, second := range cacheWays {
			add(fmt.Sprintf("%s, then %s", one, other), 64, first, second, nothing)
		}
		for _, size := range []int{8, 24, 192, 1024, 8192} {
			add(fmt.Sprintf("%s twice, %d bytes", one, size), size, first, first, nothing)
		}
		again := first
		if one == "FreeDeferred" { // it is drained, then allocated and freed by the others
			again.says = saysFreed
		}
		add(one+" twice, others between", 64, again, again, otherTraffic)
	}
	free := cacheWays["Free"]
	add("Free, then Free of what is lent", 64, free, free, func(v *victim) {
		v.lent.Return()
		v.lent, _ = v.cache.Prefill(8)
	})
	cases = append(cases, misuse{"twice in one FreeBulk", 64, func(v *victim) error {
		v.cache.FreeBulk([]unsafe.Pointer{v.p, v.p})
		return nil
	}, `slubd: cache "victim": double free at OBJECT: ` + saysFreed})
	return cases
}

// otherTraffic allocates and frees so much that what was freed before is not at the top of a sheaf,
// but never the object itself.
func otherTraffic(v *victim) {
	var ps []unsafe.Pointer
	for range 2000 {
		p, err := v.cache.Alloc()
		if err != nil {
			panic(err)
		}
		if p != v.p {
			ps = append(ps, p)
			continue
		}
		v.cache.Free(p) // the next Alloc would return it again
		q := make([]unsafe.Pointer, 64)
		if err := v.cache.AllocBulk(q); err != nil {
			panic(err)
		}
		for _, p := range q {
			if p == v.p {
				v.cache.Free(p)
			} else {
				ps = append(ps, p)
			}
		}
	}
	for i, p := range ps {
		if i%4 != 0 { // the others stay, and so the slabs
			v.cache.Free(p)
		}
	}
}

// doubleFreesOfBuckets are those of objects that Malloc has returned, of the kinds class, page
// class, run and mapping.
func doubleFreesOfBuckets() (cases []misuse) {
	const large = `slubd: cache "victim": double free at OBJECT (slab OBJECT+0): `
	outside := uintptr(0) // an address like that of a mapping, which -race has on Go's heap
	if sanitized && invariants.Enabled {
		outside = uintptr(unsafe.Pointer(unsafe.SliceData(make([]byte, maxRun)))) // for no stack
	}
	gone := map[int]string{ // what is said of pages that the arena has again
		1_200_000:  "its page holds no slab; if it ever was an object, its slab or pages have been given back",
		maxRun + 1: foreign(outside),
	}
	for size, line := range map[int]string{
		100:        `slubd: cache "victim-112": double free at OBJECT: `,
		100_000:    `slubd: cache "victim-106496": double free at OBJECT: `,
		1_200_000:  large,
		maxRun + 1: large,
	} {
		for way, r := range bucketsWays {
			says := r.says
			if size > maxPageClass {
				if says = saysFreed; size > 1<<20 {
					says += ", or given to FreeRCU or FreeDeferred"
				}
			}
			if text := gone[size]; text != "" && r.says == saysFreed {
				line, says = `slubd: cache "victim": foreign pointer at OBJECT: `, text
				if way == "FreeBytes" && strings.HasPrefix(text, onHeap) {
					says = outgrown
				}
			} else if text != "" {
				line = large
			}
			cases = append(cases, misuse{fmt.Sprintf("Buckets, %s twice, %d bytes", way, size), size, func(v *victim) error {
				r.free(v)
				r.free(v)
				return nil
			}, line + says})
		}
	}
	return cases
}

// unlessChecked is the environment of the processes that make misuses: hardened caches find them,
// and so do builds that check everything without it.
func unlessChecked() []string {
	if checked {
		return nil
	}
	return []string{"SLUBD_HARDENED=1"}
}

// Every second free is found, whichever way the two frees take, and is reported by the second.
func TestEveryDoubleFreeIsFound(t *testing.T) {
	inject(t, doubleFrees(), unlessChecked()...)
}

// So is one of what Malloc returned.
func TestEveryDoubleFreeOfMallocIsFound(t *testing.T) {
	inject(t, doubleFreesOfBuckets(), unlessChecked()...)
}

// writesAfterFree are writes of one byte, a word and a zero-looking pointer to a free object, at
// its start, in the middle, and to its last byte, which the allocation that gets the object
// reports.
func writesAfterFree() (cases []misuse) {
	for _, size := range []int{8, 24, 64, 192, 1024, 8192} {
		for what, at := range map[string]int{"first byte": 0, "middle": size / 2 &^ 7, "last byte": size - 1} {
			for _, way := range []string{"Free", "FreeBulk", "FreeDeferred"} {
				n := min(shownBytes, size-at)
				shown := strings.TrimSpace("5a" + strings.Repeat(" 00", n-1))
				cases = append(cases, misuse{fmt.Sprintf("%s after %s, %d bytes", what, way, size), size, func(v *victim) error {
					cacheWays[way].free(v)
					v.cache.drain(drainAll)
					*(*byte)(unsafe.Add(v.p, at)) = 0x5a
					for range 4 * v.cache.Stats().SheafCapacity {
						if _, err := v.cache.Alloc(); err != nil {
							return err
						}
					}
					return nil
				}, fmt.Sprintf(`slubd: cache "victim": write after free at OBJECT: +%d reads %s, and was cleared when it was freed`, at, shown)})
			}
		}
	}
	return cases
}

// A hardened cache finds every write to a free object when the object is allocated again.
func TestWriteAfterFreeIsFound(t *testing.T) {
	if sanitized {
		t.Skip("a sanitizer reports the write itself")
	}
	inject(t, writesAfterFree(), "SLUBD_HARDENED=1")
}
