package sheaves

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table of docs/reference/counters.md")

// The document lies beside the code that it describes, in this module.
const countersDoc = "../docs/reference/counters.md"

// TestCountersDoc: the document's table is the one that String and the help texts of /metrics are
// made from. `go test ./sheaves -run CountersDoc -update` rewrites it.
func TestCountersDoc(t *testing.T) {
	doc, err := os.ReadFile(countersDoc)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| counter | meaning | counted when |\n|---|---|---|\n"
	before, after, found := bytes.Cut(doc, []byte(head))
	if !found {
		t.Fatalf("%s has no table that begins with\n%s", countersDoc, head)
	}
	for bytes.HasPrefix(after, []byte("|")) {
		_, after, _ = bytes.Cut(after, []byte("\n"))
	}
	table := new(strings.Builder)
	for e := range NumEvents {
		fmt.Fprintf(table, "| `%v` | %s | %s |\n", e, e.Help(), eventTable[e].when)
	}
	want := bytes.Join([][]byte{before, []byte(head), []byte(table.String()), after}, nil)
	if bytes.Equal(doc, want) {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the table in event.go; run this test with -update", countersDoc)
	}
	if err := os.WriteFile(countersDoc, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEventTable: every event has a name of its own and both texts, and what is no event has none.
func TestEventTable(t *testing.T) {
	seen := map[string]bool{}
	for e := range NumEvents {
		d := eventTable[e]
		if d.name == "" || seen[d.name] || strings.Trim(d.name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("event %d is called %q", uint8(e), d.name)
		}
		seen[d.name] = true
		for _, text := range []string{d.help, d.when} {
			if !strings.HasSuffix(text, ".") || strings.ContainsAny(text, "|\n") {
				t.Errorf("%v: %q is no sentence for a table", e, text)
			}
		}
	}
	if NumEvents.String() != "unknown" || NumEvents.Help() != "" {
		t.Errorf("what is no event is called %q: %q", NumEvents, NumEvents.Help())
	}
}
