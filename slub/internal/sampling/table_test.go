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
