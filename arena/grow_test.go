package arena

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// part is one mapping of the process, as /proc/self/smaps shows it.
type part struct {
	from, to uintptr
	access   string // such as "rw-p"; the kernel may merge the mapping with others beside it
	flags    string // with a blank on each side
	name     string
}

// parts returns the mappings that overlap [from, to).
func parts(t *testing.T, from, to uintptr) (found []part) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	var p part
	for line := range bytes.Lines(text) {
		var next part
		if n, _ := fmt.Sscanf(string(line), "%x-%x %s", &next.from, &next.to, &next.access); n == 3 {
			p = next
			_, p.name, _ = strings.Cut(string(bytes.TrimSpace(line)), "[")
		}
		if flags, ok := strings.CutPrefix(string(line), "VmFlags:"); ok && p.from < to && p.to > from {
			p.flags = strings.ReplaceAll(flags, "\n", " ")
			found = append(found, p)
		}
	}
	return found
}

// expectParts compares the accesses of [from, to) with the given ones, in the order of addresses.
func expectParts(t *testing.T, what string, from, to uintptr, want ...string) {
	t.Helper()
	var got []string
	for _, p := range parts(t, from, to) {
		got = append(got, p.access)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: access is %q, want %q", what, got, want)
	}
}

// waitAhead waits until no goroutine of growAhead is under way.
func waitAhead(a *Arena) {
	for i := range a.zones {
		z := &a.zones[i]
		for {
			z.mu.Lock()
			ahead := z.ahead
			z.mu.Unlock()
			if !ahead {
				break
			}
			runtime.Gosched()
		}
	}
}

// All of the page map can be read, whatever was carved. It becomes writable as the range does.
func TestPageMapIsReadable(t *testing.T) {
	forgetRanges(t)
	a := open(t, Config{Span: 512 * mib})
	for _, page := range []uint32{0, a.Pages() / 2, a.Pages() - 1} {
		if _, _, ok := a.Head(page); ok || a.Owner(page) != 0 || *(*uint64)(a.Meta(page)) != 0 {
			t.Errorf("page %d of a new arena has a run, an owner or a record", page)
		}
	}
	expectParts(t, "new", a.pages.metas, a.pages.metas+a.pages.bytes(), "r--p")
	a.Free(alloc(t, a, 0, 0).Page)
	expectParts(t, "used", a.pages.metas, a.pages.metas+a.pages.bytes(), "rw-p", "r--p", "rw-p", "r--p", "rw-p", "r--p")
	mapEnd := a.pages.metas + a.pages.bytes()
	var writable uintptr
	for _, p := range parts(t, a.pages.metas, a.pages.metas+a.pages.bytes()) {
		if p.access == "rw-p" {
			writable += min(p.to, mapEnd) - max(p.from, a.pages.metas)
		}
		if noDump := strings.Contains(p.flags, " dd "); noDump == (p.access == "rw-p") {
			t.Errorf("%+v: left out of core dumps: %v", p, noDump)
		}
	}
	if want := uintptr(mapStep * pageMapBytes); writable != want {
		t.Errorf("%d bytes of the page map are writable, want %d", writable, want)
	}
}

// A page without access lies in front of each page map, and behind it: maps that are made one
// after the other would lie side by side.
func TestPageMapsLieApart(t *testing.T) {
	const pages = 1024
	for range 8 {
		m, err := newPagemap(pages)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := m.unmap(); err != nil {
				t.Error(err)
			}
		}()
		end := m.metas + m.bytes()
		expectParts(t, "in front", m.metas-mem.PageSize, m.metas, "---p")
		expectParts(t, "the map", m.metas, end, "r--p")
		expectParts(t, "behind", end, end+mem.PageSize, "---p")
	}
}

// An Alloc at the limit makes nothing writable.
func TestLimitComesBeforeGrowth(t *testing.T) {
	a := open(t, Config{Limit: mem.PageSize})
	run := alloc(t, a, 0, 0)
	other := open(t, Config{Limit: mem.PageSize})
	if _, err := other.Alloc(1, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("two pages with a limit of one: %v", err)
	}
	if z := &other.zones[0]; z.writable != z.first {
		t.Errorf("%d pages are writable in an arena that can't use them", z.writable-z.first)
	}
	a.Free(run.Page)
}

// A goroutine that makes pages writable and comes after Close does nothing.
func TestGrowthAfterClose(t *testing.T) {
	a := open(t, Config{})
	a.Free(alloc(t, a, 0, 0).Page)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	defer sys.FailNth(sys.CallProtect, 0, syscall.EINVAL)()
	a.growAhead(&a.zones[0])
	if n := a.Stats().CommitFailures; n != 0 {
		t.Errorf("the kernel was asked %d times", n)
	}
}

// Close waits for a goroutine that is making pages writable: another arena may have the range next.
func TestCloseWaitsForGrowth(t *testing.T) {
	a := open(t, Config{})
	z := &a.zones[0]
	z.growing.Lock()
	done := make(chan error)
	go func() { done <- a.Close() }()
	select {
	case <-done:
		t.Fatal("Close has not waited")
	case <-time.After(20 * time.Millisecond):
	}
	z.growing.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
