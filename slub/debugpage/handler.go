// Package debugpage shows caches, arenas, RCU domains and the allocation profile on a page for a
// browser, which asks for new figures every two seconds.
//
//	mux.Handle("/debug/slubd/", debugpage.Handler())
//
// # Place in the data flow
//
//	slub.Caches, Groups, ReadProfile -> snapshot -> data.json -> page.js, in the browser
//	Cache.CPUStats -> counters      slub.Caches -> slabinfo
//
// The page is one file with its style and script in it, and loads nothing from elsewhere; its
// Content-Security-Policy says so to the browser, and allows the page's script by its hash. Nothing
// on it, and no request to the handler, changes anything in the program.
//
// Lock order: server.mu, then what Cache.Stats and its relatives take, for a snapshot.
// Not allowed: being imported by slub, which links no net/http.
package debugpage

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/slubd/slubd/slub"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// page is the whole page, with a place for the name of the program.
var page = template.Must(template.New("page").Parse(pageHTML))

// policy forbids the browser everything but what is in the page, and requests to this server. %s is
// the hash of the script: one that a name has brought into the page would not run.
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-%s'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// fresh is for how long all clients get the same snapshot, so that many of them cost no more than
// two a second.
const fresh = 500 * time.Millisecond

// A server answers the requests to one handler.
type server struct {
	html   []byte
	policy string
	read   func() snapshot

	mu   sync.Mutex // one snapshot at a time
	at   time.Time  // when data was read; mu
	data []byte     // data.json; not changed once it is there; mu
}

// Handler serves the page and what it asks for. It looks only at the last element of the path, so
// it may be mounted under any path that ends in a slash:
//
//	/debug/slubd/                      the page
//	/debug/slubd/data.json             all figures, read twice a second at most
//	/debug/slubd/counters?cache=NAME   a cache's counters as in /sys/kernel/slab/NAME, by CPU
//	/debug/slubd/slabinfo              all caches as in /proc/slabinfo
//
// It answers GET and HEAD only. It tells names of caches, groups, functions and files, limits and
// sizes to every client that reaches it, so serve it on a loopback address or behind
// authentication, like net/http/pprof.
func Handler() http.Handler { return newServer(read) }

func newServer(read func() snapshot) *server {
	title := "slubd"
	if exe, err := os.Executable(); err == nil {
		title = filepath.Base(exe)
	}
	var html bytes.Buffer
	err := page.Execute(&html, map[string]any{"Title": title, "CSS": template.CSS(pageCSS), "JS": template.JS(pageJS)})
	if err != nil {
		panic(err) // of a constant template
	}
	hash := sha256.Sum256([]byte(pageJS))
	return &server{html: html.Bytes(), policy: fmt.Sprintf(policy, base64.StdEncoding.EncodeToString(hash[:])), read: read}
}

// json returns the figures as JSON, those of a moment ago if there are any.
func (s *server) json() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.data == nil || now.Sub(s.at) >= fresh {
		data, err := json.Marshal(s.read())
		if err != nil {
			panic(err) // of numbers and strings
		}
		s.at, s.data = now, append(data, '\n')
	}
	return s.data
}

// ServeHTTP answers one request. Errors of writing mean that the client has gone.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD: nothing here changes anything", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", s.policy)
	var write func(io.Writer) error // the body
	switch element := path.Base(r.URL.Path); element {
	case "data.json":
		h.Set("Content-Type", "application/json")
		write = func(w io.Writer) error { _, err := w.Write(s.json()); return err }
	case "counters":
		name := r.URL.Query().Get("cache")
		c := find(name)
		if c == nil {
			http.Error(w, fmt.Sprintf("no open cache is called %q", name), http.StatusNotFound)
			return
		}
		h.Set("Content-Type", "text/plain; charset=utf-8")
		write = func(w io.Writer) error { return WriteCounters(w, c) }
	case "slabinfo":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		write = WriteSlabinfo
	default:
		h.Set("Content-Type", "text/html; charset=utf-8")
		write = func(w io.Writer) error { _, err := w.Write(s.html); return err }
	}
	if r.Method == http.MethodGet {
		_ = write(w)
	}
}

// find returns the open cache of a name, or nil.
func find(name string) *slub.Cache {
	for c := range slub.Caches() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}
