package main

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/slubd/slubd/metrics"
	"github.com/slubd/slubd/slub"
)

// handler serves a store, whose sessions live for ttl, and the metrics.
func handler(s *store, ttl time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler())
	mux.HandleFunc("GET /session/{key}", func(w http.ResponseWriter, r *http.Request) {
		value, found := s.get(make([]byte, 0, maxValue), r.PathValue("key"))
		if !found {
			http.NotFound(w, r)
			return
		}
		w.Write(value)
	})
	mux.HandleFunc("PUT /session/{key}", func(w http.ResponseWriter, r *http.Request) {
		status := putFrom(s, r, ttl)
		w.WriteHeader(status)
	})
	mux.HandleFunc("DELETE /session/{key}", func(w http.ResponseWriter, r *http.Request) {
		if !s.remove(r.PathValue("key")) {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// putFrom stores a request's body and returns the status to answer with.
func putFrom(s *store, r *http.Request, ttl time.Duration) int {
	key := r.PathValue("key")
	value, err := io.ReadAll(io.LimitReader(r.Body, maxValue+1))
	switch {
	case err != nil:
		return http.StatusBadRequest
	case len(key) > maxKey:
		return http.StatusRequestURITooLong
	case len(value) > maxValue:
		return http.StatusRequestEntityTooLarge
	}
	switch err := s.put(key, value, ttl); {
	case errors.Is(err, slub.ErrNoMemory):
		return http.StatusInsufficientStorage
	case err != nil:
		return http.StatusInternalServerError
	}
	return http.StatusNoContent
}
