"""Texts with slots for what is planted: those that the rules were written against, and those that they were not.

`{PERSON}` and its like are personal data, slots in small letters are business data. Both sets are of our own
making and share no sentence with each other or with a public benchmark.
"""

DEVELOPMENT = r"""
Hi {FIRST}, thanks for reaching out. Your order {order} left our warehouse on {day}.
Dear {PERSON}, please find attached invoice {invoice} over {amount} EUR.
Dear Mrs. {LAST}, we have received your letter of {day}.
{PERSON} called and asks for a refund of {amount} USD on order {order}.
Spoke with {PERSON}, who confirmed the new delivery address {LOCATION}.
Please transfer the amount to {IBAN_CODE}, account holder {PERSON}.
My name is {PERSON} and my card {CREDIT_CARD} was charged twice.
Customer {PERSON} ({EMAIL_ADDRESS}) reports that ticket {ticket} is still open.
Please call me back at {SPOKEN_PHONE} after six.
phone: {SPOKEN_PHONE}, e-mail: {EMAIL_ADDRESS}
Her social security number is {US_SSN}, she was born on {DATE_OF_BIRTH}.
{{"customer": {{"name": "{PERSON}", "phone": "{PHONE_NUMBER}"}}, "order_id": "{order}"}}
{{"first_name": "{FIRST}", "last_name": "{LAST}", "email": "{EMAIL_ADDRESS}", "total": {amount}}}
{{"billing": {{"cardholder": "{PERSON}", "card": "{CREDIT_CARD}"}}, "sku": "{sku}"}}
{{"assignee": "{PERSON}", "ticket": {ticket}, "state": "open"}}
{day} {time} INFO user={EMAIL_ADDRESS} login ok, session {hex}
Best regards,\n{PERSON}\nHead of Accounts
Regards,\n{FIRST}
The meeting with {PERSON} and {PERSON} is moved to {day}.
Dr. {LAST} will see {FIRST} on {day} at ten.
Name: {PERSON}\nSSN: {US_SSN}\nDate of birth: {DATE_OF_BIRTH}\nAddress: {LOCATION}
{LAST_FIRST};{EMAIL_ADDRESS};{PHONE_NUMBER};{order}
I talked to {FIRST} yesterday and she told me that {invoice} is wrong.
We ship to {LOCATION}; the driver rings {SPOKEN_PHONE}, tel. of the porter.
Can you add {PERSON} as a second owner of account {account}?
Paid with {CREDIT_CARD} by {PERSON} on {day}.
{FIRST}'s laptop does not start since version {version}.
Refund to card ending, full number {CREDIT_CARD}, approved by {PERSON}.
From: {PERSON} <{EMAIL_ADDRESS}>\nSubject: order {order}
cc {PERSON}, {PERSON}
You get me at {SPOKEN_PHONE} via WhatsApp or by mail.
Thanks,\n{PERSON}\nAcme Corp\n{PHONE_NUMBER}
T {PHONE_NUMBER} | M {PHONE_NUMBER}
{{"msisdn": "{SPOKEN_PHONE}", "fax_no": "{SPOKEN_PHONE}"}}
Please contact {PERSON} on {SPOKEN_PHONE} or leave a message at {SPOKEN_PHONE}.
Call {PERSON} back: {SPOKEN_PHONE}
Agent: Good morning, am I speaking with {PERSON}?
The caller, {PERSON}, gave {SPOKEN_PHONE} as her phone number.
Mr {PERSON} of {LOCATION} has the IBAN {IBAN_CODE}.
{PERSON} wrote on {day}: "nothing has come yet".
According to {LAST}, the goods were damaged.
Employee {PERSON}, SSN {US_SSN}, salary {amount}
Escalated to {PERSON} in the night shift.
CUSTOMER NAME: {CAPITALS}
Thank you, {FIRST}! Your case {ticket} is closed.
{PERSON}, {LOCATION}, {PHONE_NUMBER}
"""

HELD_OUT = r"""
Hello {FIRST}, I am sorry to hear that parcel {order} has not reached you.
Good afternoon Ms {LAST}, your claim {ticket} was settled with {amount} GBP.
This is {PERSON} writing again about {invoice}.
I would like to change the name on my booking to {PERSON}, please.
{PERSON} signed for the parcel on {day} at {time}.
The contract was negotiated by {PERSON} and countersigned by {PERSON} on {day}.
We tried to reach {PERSON} twice; nobody picked up at {SPOKEN_PHONE} by phone.
Wire {amount} to {PERSON}, {IBAN_CODE}, before {day}.
Could you send the receipt to {EMAIL_ADDRESS} instead of {EMAIL_ADDRESS}?
My visa card is {CREDIT_CARD}, it was declined at the till.
I paid {amount} with {CREDIT_CARD} and want my money back.
The patient {PERSON}, date of birth {DATE_OF_BIRTH}, was moved to ward {count}.
Her SSN ({US_SSN}) appears twice in the payroll file.
{US_SSN} belongs to {PERSON} according to HR.
You can text me on {SPOKEN_PHONE}, my mobile number, or mail {EMAIL_ADDRESS}.
Our driver could not find {LOCATION} and returned to the depot.
Send the replacement to {PERSON}, {LOCATION}, not to the old address.
{{"contact": {{"full_name": "{PERSON}", "mobile": "{SPOKEN_PHONE}", "mail": "{EMAIL_ADDRESS}"}}}}
{{"employee": "{PERSON}", "ssn": "{US_SSN}", "iban": "{IBAN_CODE}", "grade": {count}}}
{{"beneficiary": "{PERSON}", "iban": "{IBAN_CODE}", "amount": {amount}, "reference": "{invoice}"}}
{{"givenName": "{FIRST}", "surname": "{LAST}", "birthDate": "{DATE_OF_BIRTH}"}}
{{"payment": {{"pan": "{CREDIT_CARD}", "holder_name": "{PERSON}"}}, "order": "{order}"}}
{{"event": "escalated", "by": "{PERSON}", "to": "{PERSON}", "ticket": {ticket}}}
{day}T{time}Z WARN mailer: bounce from {EMAIL_ADDRESS} for message {hex}
{time} agent typed: the customer, a {PERSON}, wants to cancel
Kind regards\n{PERSON}\n{PHONE_NUMBER}
Many thanks,\n{FIRST} {LAST}\nmobile {SPOKEN_PHONE}
Yours sincerely,\n\n{PERSON}
{FIRST} from billing said that {invoice} would be corrected by {day}.
Please ask {FIRST} or {FIRST} to release the payment run.
Yesterday {PERSON} reported that the export stops at row {count}.
Prof. {LAST} and Mrs {PERSON} share the account {account}.
The tenant, {PERSON}, moved out of {LOCATION} in spring.
Invoice recipient: {PERSON}\nStreet: {LOCATION}\nPhone: {SPOKEN_PHONE}
Passenger {LAST_FIRST}, booking {hex}, seat {count}
Attendees: {PERSON}, {PERSON}, {PERSON}
To: {PERSON} <{EMAIL_ADDRESS}>; {EMAIL_ADDRESS}
{order},{PERSON},{EMAIL_ADDRESS},{amount},paid
{order};{CREDIT_CARD};{PERSON};{amount}
| {ticket} | {PERSON} | {PHONE_NUMBER} | open |
In the opinion of {LAST} the delivery was complete.
Has {PERSON} been told that order {order} is on hold?
Her sister {FIRST} collects the keys; his neighbour {PERSON} has the spare ones.
Caller says her husband {PERSON} passed away on {day} and wants the account closed.
{PERSON}'s refund of {amount} is stuck since {day}.
Is {SPOKEN_PHONE} still the best number to call? Otherwise we use {PHONE_NUMBER}.
The number on file is {PHONE_NUMBER}.
Account holder changed from {PERSON} to {PERSON} as of {day}.
Ship to {CAPITALS}, {LOCATION}
Interview with {PERSON} ({EMAIL_ADDRESS}): born {DATE_OF_BIRTH}, lives at {LOCATION}.
The guarantor is {PERSON}; her bank details are {IBAN_CODE}.
We forwarded your request to our colleague {PERSON}, who answers within {count} hours.
{FIRST} thinks the total of {amount} is wrong, and I agree with {FIRST}.
Card on file: {CREDIT_CARD}, exp 12/28, name on card {PERSON}
"""

DEVELOPMENT_BUSINESS = r"""
Invoice {invoice} of {day} over {amount} EUR is due within {count} days.
PO {order} line 10: {count} pcs of SKU {sku} at {amount} each
{day},GL 110-20-4000,Accrued utilities,{big},0.00,JE-2024-000318
{day}|{account}|Trade receivables|DR|{big}|EUR|period 2024-03
Ticket #{ticket}: login fails since version {version}, see build {count}
{{"order_id": "{order}", "customer_id": "C-00{ticket}", "total": {amount}}}
{{"trace_id": "{hex}{hex}", "ts": {epoch}, "level": "info"}}
{day} {time},123 WARN [pool-2-thread-17] retry 3/5 after 2000 ms for order {order}
GET /api/v1/orders/{order}/lines?page=2&size=100 HTTP/1.1 200 5312 0.042
def total(rows): return sum(r.amount for r in rows if r.payment.captured)
SELECT id, amount FROM ledger WHERE period = '2024-03' AND id IN ({account}, {account})
Morgan Stanley and Wells Fargo confirmed the balances of {day}.
The Grand Total of {amount} includes Sales Tax and Shipping.
In May and June the Price Waterhouse audit covers Accounts Payable.
Status changed from Open to In Progress by Workflow Engine at {time}.
New York, San Francisco and Paris close their books on {day}.
Mark the invoice as paid. Will do so on Monday.
Class OrderService extends BaseService implements Retryable
Microsoft Azure bills {amount}, Amazon Web Services {amount}, Google Cloud {amount}.
Open items by age: 1-30 {amount}, 0-60 {amount} and 0-90 {amount}, variance +{count} {amount}
Batch {ticket} moves {big} and {amount} from {account} to {account}; +{count}.5% against plan
Correlation {hex}-{hex}, span {hex}, attempt {count}, code 0{ticket} {ticket}
Dial plan {count} of the call center, mobile revenue {big}, contact reasons {count} {count}
Opened {day} {time} by the Service Desk; Call {ticket} was reached at level {count}
Bill of Lading {order}, Port of Hamburg, Gross Weight {count} kg
"""

HELD_OUT_BUSINESS = r"""
Purchase order {order} dated {day}: {count} units, unit price {amount}, Net 30
Credit note {invoice} reverses {amount} EUR of invoice {invoice}
Remittance advice: {invoice} {amount}; {invoice} {amount}; Total {big}
Subtotal {amount} VAT {amount} Total Due {amount} Payment Terms Net 14
Late Payment Fee of {amount} applies after {day} according to Section 7
Item {sku} Stainless Steel Kettle qty {count} price {amount} discount 5%
Freight and Handling {amount}, Insurance {amount}, Customs Duty {amount}
{day};{account};Cost of Goods Sold;CR;{big};USD;batch {ticket}
{day},{account},Deferred Revenue,{amount},,adjusting entry {hex}
Trial Balance as of {day}: Debit {big} Credit {big} Difference 0.00
Journal {invoice} posts Depreciation Expense {amount} against Accumulated Depreciation
Fixed Assets {big}, Current Liabilities {big}, Retained Earnings {big}
Bank reconciliation {day}: {count} items cleared, {count} outstanding, ledger {account}
Intercompany Loan {account} bears 3.25% from {day} until {day}
Accounts Receivable ageing: 0-30 {amount}, 31-60 {amount}, 61-90 {amount}
Closing Entry for Fiscal Year 2025 was posted at {time} by batch {ticket}
Ticket {ticket}: Export to Excel fails with Error 1205 since Release {version}
Ticket SUP-{ticket} was merged into SUP-{ticket}; Priority High, Severity 2
Customer cannot open the Dashboard in Chrome on Windows 11, see screenshot {count}
Steps to reproduce: open Settings, choose Billing, press Save; expected Success
Agent changed the queue from Returns to Warranty on {day} at {time}
Root Cause Analysis for incident {ticket} is due on Friday, {day}
The warranty for serial {order} ended on {day}; a Service Pack costs {amount}
Please restart the Print Spooler and clear the cache of App Gateway
Order {order} shipped with Express Saver, tracking number 1Z999AA1{order}
Return label {hex} for order {order} expires on {day}
Subscription Gold Plan renews on {day} for {amount} per month
{{"invoice": "{invoice}", "lines": [{{"sku": "{sku}", "qty": {count}}}], "paid": false}}
{{"name": "Quarterly Report", "type": "Workbook", "size": {count}, "owner": "finance-team"}}
{{"service": "billing", "version": "{version}", "commit": "{hex}", "build": {ticket}}}
{{"account": "{account}", "period": "2025-03", "balance": "-{amount}", "currency": "EUR"}}
{{"product": "Standing Desk Oak", "brand": "Nordic Living", "ean": "{sku}", "price": {amount}}}
{{"epoch": {epoch}, "request": "{hex}-{hex}", "status": 200, "ms": {count}}}
{{"warehouse": "Rotterdam North", "bin": "A-{count}-07", "stock": {count}}}
{{"rule": "Three Way Match", "result": "passed", "tolerance": 0.02, "po": "{order}"}}
{{"title": "Month End Close", "steps": ["Match Invoices", "Post Accruals", "Review Variance"]}}
for row in reader: totals[row["account"]] += Decimal(row["amount"])
class InvoiceRepository(Repository[Invoice]): table = "invoice"
const total = items.reduce((sum, item) => sum + item.price * item.qty, 0);
UPDATE orders SET status = 'SHIPPED' WHERE id = {order} AND version = {count};
assert response.json()["total"] == Decimal("{amount}")
from decimal import Decimal; from pathlib import Path
@pytest.mark.parametrize("amount", ["{amount}", "{amount}"])
docker run --rm -p 8080:80 registry.local/billing:{version}
if (order.getStatus() == Status.CLOSED) throw new IllegalStateException("Order Closed");
curl -X POST https://api.local/v2/invoices/{order}/approve -H "Idempotency-Key: {hex}"
try {{ Thread.sleep(2000); }} catch (InterruptedException e) {{ log.warn("Retry"); }}
{day}T{time}.{count}Z INFO worker-{count} job={hex} took {count} ms, {count} rows
{day} {time} ERROR PaymentGateway Timeout after {count} ms for order {order}
Nov 12 {time} db-1 postgres[{ticket}]: checkpoint complete: wrote {count} buffers
level=warn ts={epoch} msg="queue is long" queue=invoices depth={count}
[{time}] Kafka consumer group billing rebalanced, {count} partitions assigned
Traceback (most recent call last): File "close.py", line {count}, in post_entry
ValueError: Journal Entry {invoice} is out of balance by {amount}
HTTP 503 Service Unavailable from Tax Engine, attempt {count} of 5, trace {hex}
java.lang.NullPointerException at com.acme.billing.InvoiceService.post(InvoiceService.java:{count})
Johnson Controls and Schneider Electric sent statements dated {day}.
Goldman Sachs charges {amount} for the Letter of Credit {order}.
Ernst & Young reviewed the Balance Sheet, Deloitte the Tax Return for 2025.
Baker Hughes delivered {count} tons to the Port of Houston on {day}.
The Lincoln Park branch and the Madison office moved to Building 7 in April.
Charlotte, Austin and Florence have their own Cost Centers since {day}.
Harley Davidson parts {sku} and Calvin Klein goods are on Back Order.
Minutes: Action Items from the Steering Committee of {day} are all Done.
Virginia and Georgia raised the Sales Tax, Carolina did not.
Key Account Management meets Product Marketing on Tuesday at {time}.
Will the Frank discount of {count}% end in May or in August?
Rate limit 5000/3600 s, used {count}, resets at {epoch}, request {hex}
Policy POL-{ticket}: Deductible {amount}, Coverage Limit {big}, Premium {amount}
Contract 2024/0{count}-02 renews on {day} for 24 months at {amount} per month
Meeting Room Berlin is booked on {day} from 09:00 to 10:30, Agenda Item {count}
Shipping Method Standard, Carrier Hermes Parcel, weight {count}.5 kg
"""

HARD = r"""
{SMALL} called again about order {order}, she is quite upset
i spoke to {SMALL_FIRST} this morning, he says the parcel {order} never came
pls refund {SMALL}, card {CREDIT_CARD}
{SHOUTED} CALLED TWICE, WANTS A REFUND OF {amount}
Deutsche Bank confirmed to {PERSON} that Wells Fargo had returned {amount}.
{PERSON} of Schneider Electric and {PERSON} of Baker Hughes met in Austin.
The Madison office asked {LAST} for the papers; {FIRST} never answered.
{LAST}/{LAST} vs. Acme Corp, docket {order}
Nobody but {FIRST} knows the password of the Jenkins server.
Sent from {FIRST}'s iPhone
{FIRST} & {FIRST} opened a joint account on {day}.
Meeting notes: {FIRST} (sales), {FIRST} (legal), {LAST} (finance)
@{FIRST} please check invoice {invoice}
assigned_to={PERSON} status=open prio=2
user "{PERSON}" not found in tenant acme
The {LAST} account is overdue by {amount}.
{FIRST} {FIRST} {LAST} II inherited the shares.
Signed: {PERSON} / {PERSON}
{LAST} family, {LOCATION}
Tell {FIRST} that Victoria Street is closed and the Lincoln Park branch is open.
Dear {FIRST} and {FIRST},
Dear Sir {LAST}, dear Team,
Re: claim of the late {PERSON}
{PERSON}\tgold\t{amount}\t{day}
"""
