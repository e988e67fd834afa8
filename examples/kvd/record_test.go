package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/slubd/slubd/hooks/trace"
)

// The trace of a server has the entries that clients have made and replaced, and no key or value.
func TestRecordsATrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kvd.trace")
	d := start(t, options{record: file})
	p := dial(t, d)
	const sets = 200
	for range sets {
		if reply := p.ask(t, "SET secret-key "+strings.Repeat("secret-value", 300)); reply != "+OK" {
			t.Fatalf("SET: %q", reply)
		}
	}
	p.Close()
	d.finish(t)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := trace.Read(f, trace.Limits{})
	if err != nil || got.Ended != nil {
		t.Fatal(err, got)
	}
	allocated := 0
	for _, e := range got.Events {
		if e.Size >= 3600 && e.Size < 4200 {
			allocated++
		}
	}
	if allocated != sets || got.Objects < 2 {
		t.Errorf("%d entries, %d objects at a time, %d events", allocated, got.Objects, len(got.Events))
	}
}

// A file that can't be written is an error at the start, one that takes nothing is one at the end,
// and the server works in between.
func TestRecordErrors(t *testing.T) {
	for _, o := range []options{{store: "slubd", record: "/no/such/directory/file"}, {store: "heap", record: "file"}} {
		if _, err := newStore(o); err == nil || !strings.Contains(err.Error(), "-record") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/full, which Linux has")
	}
	d := start(t, options{record: "/dev/full"})
	p := dial(t, d)
	if reply := p.ask(t, "SET key value"); reply != "+OK" {
		t.Errorf("SET: %q", reply)
	}
	p.Close()
	d.cancel()
	_, err := d.result()
	if err == nil || !strings.Contains(err.Error(), "-record") || errors.Is(err, trace.ErrOverrun) {
		t.Errorf("the error at the end: %v", err)
	}
}
