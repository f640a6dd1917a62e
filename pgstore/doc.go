// Package pgstore is the backend on PostgreSQL: many processes, one truth.
package pgstore
