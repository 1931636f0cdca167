"""Messages about flagged studies, to whoever asks for them: webhooks, HL7 version 2 and FHIR."""
