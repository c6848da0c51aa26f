// Sends batches of events over one gRPC stream, many of them in flight, each
// until it is answered.
//
//	go run . 127.0.0.1:7171
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"time"

	"example.com/sendevents/stashgatev1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Batches that may be unanswered at a time.
const window = 16

// newBatchID begins with the time, which keeps Elasticsearch's look-ups cheap.
func newBatchID() []byte {
	id := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	return binary.BigEndian.AppendUint64(id, rand.Uint64())
}

func newBatch(first int) *stashgatev1.AppendRequest {
	var ndjson []byte
	for n := first; n < first+500; n++ {
		ndjson = fmt.Appendf(ndjson, "{\"seq\":%d,\"from\":\"go\"}\n", n)
	}
	return &stashgatev1.AppendRequest{BatchId: newBatchID(), Ndjson: ndjson}
}

func isWorthRetrying(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.OutOfRange, codes.Unimplemented,
		codes.Unauthenticated, codes.PermissionDenied:
		return false
	}
	return true
}

// sendWindow sends batches on a stream and returns those to be sent again: the
// ones that the gateway has no room for, and those whose answer was lost. They
// keep their ids, so that no event is indexed twice.
func sendWindow(
	client stashgatev1.IngestServiceClient, batches []*stashgatev1.AppendRequest,
) ([]*stashgatev1.AppendRequest, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := client.AppendStream(ctx)
	if err != nil {
		return batches, err
	}
	for _, batch := range batches {
		// The error of a broken stream is told by Recv.
		if stream.Send(batch) != nil {
			break
		}
	}
	unanswered := make(map[uint64]*stashgatev1.AppendRequest)
	for ordinal, batch := range batches {
		unanswered[uint64(ordinal)] = batch
	}
	var again []*stashgatev1.AppendRequest
	for len(unanswered) > 0 {
		var answer *stashgatev1.AppendResponse
		if answer, err = stream.Recv(); err != nil {
			break
		}
		batch := unanswered[answer.Ordinal]
		delete(unanswered, answer.Ordinal)
		if refused := status.ErrorProto(answer.Error); answer.Error != nil {
			err = errors.Join(err, refused)
			if !isWorthRetrying(refused) {
				log.Fatalf("a batch was refused: %v", refused)
			}
			again = append(again, batch)
			continue
		}
		for _, event := range answer.Rejected {
			log.Printf("event %d was not accepted: %s", event.Index, event.Detail)
		}
		fmt.Println(answer.Accepted, "accepted")
	}
	for _, batch := range unanswered {
		again = append(again, batch)
	}
	return again, err
}

func main() {
	address := "127.0.0.1:7171"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	client := stashgatev1.NewIngestServiceClient(connection)

	var batches []*stashgatev1.AppendRequest
	for first := 0; first < 500*window; first += 500 {
		batches = append(batches, newBatch(first))
	}
	for wait := 100 * time.Millisecond; len(batches) > 0; wait = min(2*wait, 15*time.Second) {
		if batches, err = sendWindow(client, batches); len(batches) > 0 {
			log.Printf("%d batches to send again: %v", len(batches), err)
			if !isWorthRetrying(err) {
				os.Exit(1)
			}
			time.Sleep(rand.N(wait))
		}
	}
}
