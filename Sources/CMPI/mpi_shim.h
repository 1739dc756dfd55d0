#pragma once
// MPI's handles are macros, which Swift does not see. All messages are bytes.
#include <mpi.h>

// Joins the other ranks; one thread will call.
static inline void cosmos_mpi_begin(int *rank, int *count) {
    int provided;
    MPI_Init_thread(0, 0, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, count);
}

static inline void cosmos_mpi_end(void) { MPI_Finalize(); }

// Ends all ranks.
static inline void cosmos_mpi_abort(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

// Sending to a rank and receiving from it, under way.
typedef struct {
    MPI_Request requests[2];
} cosmos_mpi_exchange;

// Starts both; either may be of 0 bytes, and is none then.
static inline cosmos_mpi_exchange cosmos_mpi_begin_exchange(const void *sent, int sent_count, void *received,
                                                            int received_count, int rank, int tag) {
    cosmos_mpi_exchange exchange = {{MPI_REQUEST_NULL, MPI_REQUEST_NULL}};
    if (received_count > 0)
        MPI_Irecv(received, received_count, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &exchange.requests[0]);
    if (sent_count > 0) MPI_Isend(sent, sent_count, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &exchange.requests[1]);
    return exchange;
}

// Whether both are done; calling this is what moves them on.
static inline int cosmos_mpi_is_done(cosmos_mpi_exchange *exchange) {
    int is_done;
    MPI_Testall(2, exchange->requests, &is_done, MPI_STATUSES_IGNORE);
    return is_done;
}

// Sends an empty message that nobody need wait for.
static inline void cosmos_mpi_tell(int rank, int tag) {
    MPI_Request request;
    MPI_Isend(0, 0, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &request);
    MPI_Request_free(&request);
}

// Takes an empty message that has arrived; the rank that sent it, or -1.
static inline int cosmos_mpi_heard(int tag) {
    int is_there;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, tag, MPI_COMM_WORLD, &is_there, &status);
    if (!is_there) return -1;
    MPI_Recv(0, 0, MPI_BYTE, status.MPI_SOURCE, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return status.MPI_SOURCE;
}

// The sum of the same floats of all ranks, by MPI's own means: what ours is measured against.
static inline void cosmos_mpi_sum(float *values, int count) {
    MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}
