package lint

import (
	"bytes"
	"go/format"
	"regexp"
	"strings"
)

// Longest files allowed, in lines. A file is read from top to bottom in one
// go; tests may be longer, since their tables are.
const (
	maxLines     = 400
	maxTestLines = 600
)

// fileLength reports files longer than the limits.
func fileLength(t tree) (f findings) {
	for _, s := range t {
		limit := maxLines
		if s.isTest() {
			limit = maxTestLines
		}
		if n := bytes.Count(s.text, []byte("\n")); n > limit {
			f.add(s, "has %d lines, more than %d", n, limit)
		}
	}
	return f
}

// gofmtClean reports Go files that gofmt would change.
func gofmtClean(t tree) (f findings) {
	for _, s := range t {
		if !s.isGo() {
			continue
		}
		if want, err := format.Source(s.text); err != nil || !bytes.Equal(want, s.text) {
			f.add(s, "is not as gofmt writes it")
		}
	}
	return f
}

// marker matches the words that promise work for later.
var marker = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

// noMarkers reports to-do markers in comments of Go files and anywhere in
// other sources.
func noMarkers(t tree) (f findings) {
	for _, s := range t {
		text := string(s.text)
		if s.isGo() {
			text = ""
			for _, group := range s.ast.Comments {
				for _, c := range group.List {
					text += c.Text + "\n"
				}
			}
		}
		for _, m := range marker.FindAllString(text, -1) {
			f.add(s, "carries the marker %s", m)
		}
	}
	return f
}

// packageComments reports packages without a comment that says what they are
// for; libraries start it with "Package" and their name. Tests need none, nor
// do directories with nothing else.
func packageComments(t tree) (f findings) {
	for _, dir := range t.dirs() {
		var first *source
		documented := false
		for _, s := range t {
			if s.dir() != dir || !s.isGo() || s.isTest() {
				continue
			}
			if first == nil {
				first = s
			}
			opening := "Package " + s.ast.Name.Name
			if s.ast.Name.Name == "main" {
				opening = ""
			}
			if s.ast.Doc != nil && strings.HasPrefix(s.ast.Doc.Text(), opening) {
				documented = true
			}
		}
		if first != nil && !documented {
			f = append(f, dir+": the package has no comment")
		}
	}
	return f
}
