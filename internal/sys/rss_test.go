package sys

import (
	"testing"
	"testing/fstest"
)

func TestAnonymous(t *testing.T) {
	const rollup = "00400000-7ffd (deleted)\nRss:  900 kB\nAnonymous:   12 kB\nAnonHugePages: 0 kB\n"
	const status = "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t 8 kB\n"
	for name, c := range map[string]struct {
		rollup, status string
		want           uint64 // bytes; 0 for an error
	}{
		"exact":              {rollup: rollup, status: status, want: 12 << 10},
		"no rollup":          {status: status, want: 8 << 10},
		"rollup lacks field": {rollup: "Rss: 900 kB\n", status: status, want: 8 << 10},
		"neither":            {},
		"no number":          {rollup: "Anonymous: x kB\n", status: "RssAnon: -1 kB\n"},
		"overflow":           {status: "RssAnon: 18446744073709551615 kB\n"},
		"other unit":         {status: "RssAnon: 8 MB\n"},
	} {
		proc := fstest.MapFS{}
		if c.rollup != "" {
			proc["smaps_rollup"] = &fstest.MapFile{Data: []byte(c.rollup)}
		}
		if c.status != "" {
			proc["status"] = &fstest.MapFile{Data: []byte(c.status)}
		}
		got, err := anonymous(proc)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: %d bytes, %v, want %d", name, got, err, c.want)
		}
	}
}
