package sampling

import (
	"testing"
	"time"
)

const page = 4096

// The table is bounded: behind maxSites all samples share a site without a stack, and Full tells
// when there are maxLive samples.
func TestBounds(t *testing.T) {
	var table Table
	now := time.Now()
	for i := range int64(maxLive) {
		if table.Full() {
			t.Fatalf("the table is full with %d samples", i)
		}
		table.Add(uintptr(i)*page, 8, 2, now, &Labels{Size: i % (maxSites + 10)})
	}
	if !table.Full() {
		t.Error("the table takes more than maxLive samples")
	}
	sites, shared := 0, 0
	var objects, bytes int64
	for s := range table.Sites() {
		sites++
		objects, bytes = objects+s.InUseObjects(), bytes+s.InUseBytes()
		if len(s.Stack) == 0 {
			shared++
		}
	}
	if sites != maxSites+1 || shared != 1 || objects != 2*maxLive || bytes != 16*maxLive {
		t.Errorf("%d sites, %d shared, %d objects in %d bytes", sites, shared, objects, bytes)
	}
	for i := range uintptr(maxLive) {
		table.Remove(i * page)
		table.Remove(i * page) // is ignored
	}
	for s := range table.Sites() {
		if s.InUseObjects() != 0 || s.InUseBytes() != 0 || s.AllocObjects() == 0 {
			t.Fatalf("a site has %d objects in use at the end, of %d", s.InUseObjects(), s.AllocObjects())
		}
	}
	if _, ok := table.At(page); ok || table.Full() {
		t.Error("samples are left")
	}
}

// Samples of one stack with equal labels have one site.
func TestSitesAreShared(t *testing.T) {
	var table Table
	for i := range uintptr(6) {
		table.Add(i*page, 64, 1.5, time.Now(), &Labels{Cache: "c", Node: int(i % 2)})
	}
	n := 0
	for s := range table.Sites() {
		n++
		if s.AllocObjects() != 4 || s.AllocBytes() != 3*96 {
			t.Errorf("site %+v has %d objects in %d bytes", s.Labels, s.AllocObjects(), s.AllocBytes())
		}
	}
	if n != 2 {
		t.Errorf("%d sites, want one for each node", n)
	}
}

// Equal stacks have one number, by which they are found; once the table is full other stacks have
// the number 0, which stands for none.
func TestNumbers(t *testing.T) {
	var table Table
	numbers := map[uint32]uintptr{}
	for pc := uintptr(1); pc <= maxSites; pc++ {
		n := table.Number([]uintptr{pc, 7})
		if other, taken := numbers[n]; n == 0 || taken {
			t.Fatalf("stack %d has the number %d, as %d has", pc, n, other)
		}
		numbers[n] = pc
	}
	for n, pc := range numbers {
		if s := table.Numbered(n); len(s) != 2 || s[0] != pc || table.Number(s) != n {
			t.Fatalf("number %d is stack %v, want %d", n, s, pc)
		}
	}
	if n := table.Number([]uintptr{maxSites + 1}); n != 0 || table.Numbered(n) != nil || table.Numbered(maxSites+1) != nil {
		t.Errorf("a stack for which there is no room has the number %d", n)
	}
}
