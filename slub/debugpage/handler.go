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
// Content-Security-Policy says so to the browser. Nothing on it, and no request to the handler,
// changes anything in the program.
//
// Lock order: the package has no lock. A snapshot takes what Cache.Stats and its relatives take.
// Not allowed: being imported by slub, which links no net/http.
package debugpage

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path"
	"path/filepath"

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

// policy forbids the browser everything but what is in the page, and requests to this server.
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page and what it asks for, told apart by the last element of the path, so that
// it may be mounted anywhere with a slash behind:
//
//	/debug/slubd/                      the page
//	/debug/slubd/data.json             all figures
//	/debug/slubd/counters?cache=NAME   a cache's counters as in /sys/kernel/slab/NAME, by CPU
//	/debug/slubd/slabinfo              all caches as in /proc/slabinfo
//
// It answers GET and HEAD only. It tells names of caches and functions to every client that reaches
// it, so serve it on a loopback address or behind authentication, like net/http/pprof.
func Handler() http.Handler {
	title := "slubd"
	if exe, err := os.Executable(); err == nil {
		title = filepath.Base(exe)
	}
	var html bytes.Buffer
	err := page.Execute(&html, map[string]any{"Title": title, "CSS": template.CSS(pageCSS), "JS": template.JS(pageJS)})
	if err != nil {
		panic(err) // of a constant template
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, html.Bytes())
	})
}

// serve answers one request. Errors of writing mean that the client has gone.
func serve(w http.ResponseWriter, r *http.Request, html []byte) {
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD: nothing here changes anything", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", policy)
	switch element := path.Base(r.URL.Path); element {
	case "data.json":
		h.Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(read())
	case "counters":
		name := r.URL.Query().Get("cache")
		c := find(name)
		if c == nil {
			http.Error(w, fmt.Sprintf("no open cache is called %q", name), http.StatusNotFound)
			return
		}
		h.Set("Content-Type", "text/plain; charset=utf-8")
		_ = WriteCounters(w, c)
	case "slabinfo":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		_ = WriteSlabinfo(w)
	default:
		h.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(html)
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
