package hooks

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestErrorIsOneLineWithEverythingKnown(t *testing.T) {
	for _, c := range []struct {
		report Report
		want   string
	}{
		{
			report: Report{Kind: FreelistCorrupt, Cache: "conn"},
			want:   `slubd: cache "conn": corrupt freelist`,
		},
		{
			report: Report{Kind: FreelistCorrupt, Cache: "conn", Slab: 0x1000},
			want:   `slubd: cache "conn": corrupt freelist in the slab at 0x1000`,
		},
		{
			report: Report{Kind: ForeignPointer, Cache: "conn", Addr: 0x1040},
			want:   `slubd: cache "conn": foreign pointer at 0x1040`,
		},
		{
			report: Report{Kind: WrongCache, Cache: "conn", Owner: "req", Addr: 0x1040, Slab: 0x1000, Detail: "freed twice"},
			want:   `slubd: cache "conn": pointer of another cache at 0x1040 (slab 0x1000+64), owned by cache "req": freed twice`,
		},
	} {
		if got := c.report.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestEveryKindHasItsOwnWords(t *testing.T) {
	seen := map[string]bool{}
	for k := ForeignPointer; k <= SheafCorrupt; k++ {
		if s := k.String(); s == "" || strings.HasPrefix(s, "Kind(") || seen[s] {
			t.Errorf("kind %d is called %q", k, s)
		} else {
			seen[s] = true
		}
	}
	if int(SheafCorrupt) != len(kindText)-1 {
		t.Errorf("%d kinds, texts for %d", SheafCorrupt, len(kindText)-1)
	}
	for k, want := range map[Kind]string{0: "Kind(0)", SheafCorrupt + 1: "Kind(11)"} {
		if got := k.String(); got != want {
			t.Errorf("unknown kind reads %q, want %q", got, want)
		}
	}
}

//go:noinline
func newTestReport() *Report { return NewReport(MisalignedPointer, "conn", 0x10, "object %d", 7) }

func TestFormat(t *testing.T) {
	r := newTestReport()
	if r.Detail != "object 7" {
		t.Errorf("detail is %q", r.Detail)
	}
	line := r.Error()
	for verb, want := range map[string]string{"%v": line, "%s": line, "%q": fmt.Sprintf("%q", line)} {
		if got := fmt.Sprintf(verb, r); got != want {
			t.Errorf("%s gives %q, want %q", verb, got, want)
		}
	}
	lines := strings.Split(fmt.Sprintf("%+v", r), "\n")
	if len(lines) < 5 || lines[0] != line {
		t.Fatalf("%%+v gives %d lines, the first %q", len(lines), lines[0])
	}
	if !strings.HasSuffix(lines[1], "hooks.newTestReport") {
		t.Errorf("stack starts at %q, not at NewReport's caller", lines[1])
	}
	if !strings.HasPrefix(lines[2], "\t") || !strings.Contains(lines[2], "report_test.go:") {
		t.Errorf("%q is no place in the source", lines[2])
	}
	r.Freed = r.Stack[:1]
	if got := r.Error(); !strings.HasPrefix(got, line+"\nfreed before by:\n") || !strings.HasPrefix(fmt.Sprintf("%+v", r), line+"\n"+lines[1]) ||
		!strings.HasSuffix(fmt.Sprintf("%+v", r), strings.TrimPrefix(got, line)) {
		t.Errorf("with the stack of the free before: %s, then %+v", got, r)
	}
	r.Stack, r.Freed = nil, nil
	if got := fmt.Sprintf("%+v", r); got != line {
		t.Errorf("without a stack %%+v gives %q", got)
	}
}

func TestFire(t *testing.T) {
	r := newTestReport()
	var got *Report
	r.Fire(&Hooks{Report: func(r *Report) { got = r }})
	if got != r {
		t.Errorf("hook saw %v", got)
	}
	for name, h := range map[string]*Hooks{"no hooks": nil, "no report hook": {}} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				err, _ := recover().(error)
				var found *Report
				if !errors.As(err, &found) || found != r {
					t.Errorf("panicked with %v", err)
				}
			}()
			r.Fire(h)
			t.Error("went on although no hook takes the report")
		})
	}
}
